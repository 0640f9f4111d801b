# @TEST-DOC: Unknown traffic is logged, and a notice only if asked for.
# @TEST-REQUIRES: peer-python
# @TEST-EXEC: with-peer --label unknown --flags 2 --score 0.25 -- -r $TRACES/flows.pcap
# @TEST-EXEC: test ! -e notice.log
# @TEST-EXEC: zeek-cut -m uid id.orig_h label score malicious unknown kind packets detail < mtc.log | sort > mtc
# @TEST-EXEC: btest-diff mtc
# @TEST-EXEC: with-peer --label unknown --flags 2 --score 0.25 -- -r $TRACES/flows.pcap MTC::notice_unknown=T
# @TEST-EXEC: zeek-cut -m note id.orig_h id.resp_h msg sub src dst p < notice.log | sort > notices
# @TEST-EXEC: btest-diff notices
