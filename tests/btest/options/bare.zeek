# @TEST-DOC: The package loads what it needs: with Zeek's bare mode there are the same verdicts.
# @TEST-REQUIRES: peer-python
# @TEST-EXEC: with-peer -- -b -r $TRACES/flows.pcap %INPUT
# @TEST-EXEC: zeek-cut kind packets label < mtc.log | sort > bare
# @TEST-EXEC: rm mtc.log
# @TEST-EXEC: with-peer -- -r $TRACES/flows.pcap
# @TEST-EXEC: zeek-cut kind packets label < mtc.log | sort > default
# @TEST-EXEC: test -s bare && cmp bare default

@load base/protocols/conn
