# @TEST-DOC: A malicious verdict raises one notice for each matter, and adds to conn.log where it is in time.
# @TEST-REQUIRES: peer-python
# @TEST-EXEC: with-peer -- -r $TRACES/flows.pcap
# @TEST-EXEC: zeek-cut -m note id.orig_h id.orig_p id.resp_h id.resp_p msg sub src dst p < notice.log | sort > notices
# @TEST-EXEC: zeek-cut -m id.orig_h id.orig_p mtc_label mtc_score < conn.log | grep -w 4002 > conns
# @TEST-EXEC: btest-diff notices
# @TEST-EXEC: btest-diff conns
# @TEST-EXEC: grep -v "processing\|termination" zeek.err > errors || true
# @TEST-EXEC: test ! -s errors
