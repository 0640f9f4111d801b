# @TEST-DOC: Blocks of at most eight samples, past the thresholds and in a tunnel.
# @TEST-EXEC: zeek -C -r $TRACES/flows.pcap $SCRIPTS/capture.zeek  $DUMP %INPUT > output
# @TEST-EXEC: btest-diff output

redef MTC::max_samples = 8;
redef MTC::block_interval = 65sec;
