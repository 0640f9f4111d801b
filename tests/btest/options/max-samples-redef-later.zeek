# @TEST-DOC: The option when it is set after the thresholds.
# @TEST-EXEC: zeek -C -r $TRACES/flows.pcap $SCRIPTS/capture.zeek MTC::max_samples=9 $DUMP %INPUT > output
# @TEST-EXEC: btest-diff output
