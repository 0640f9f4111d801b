# @TEST-DOC: In a replay each line of conn.log waits for the verdict on its connection's final record.
# @TEST-REQUIRES: peer-python
# @TEST-EXEC: with-peer -- -r $TRACES/flows.pcap %INPUT
# @TEST-EXEC: zeek-cut uid mtc_label mtc_score < conn.log | grep -v -e - | sort > labelled
# @TEST-EXEC: zeek-cut uid label score < mtc.log | sort -u > judged
# @TEST-EXEC: test -s judged && cmp labelled judged
# @TEST-EXEC: zeek-cut mtc_label < conn.log | sort | uniq -c | sed 's/^ *//' > output
# @TEST-EXEC: btest-diff output
