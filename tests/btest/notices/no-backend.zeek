# @TEST-DOC: A Zeek that has no bus says once, at its start, what to load; in a replay it says nothing.
# @TEST-EXEC: zeek -C --pseudo-realtime=1000 -r $TRACES/flows.pcap $SCRIPTS 2> live
# @TEST-EXEC: zeek-cut level message < reporter.log > output
# @TEST-EXEC: btest-diff output
# @TEST-EXEC: test $(grep -c mtc-sensor/standalone live) = 1
# @TEST-EXEC: zeek -C -r $TRACES/flows.pcap $SCRIPTS > replay 2>&1
# @TEST-EXEC: test ! -s replay
