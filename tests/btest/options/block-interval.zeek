# @TEST-DOC: Blocks of 20 seconds.
# @TEST-EXEC: zeek -C -r $TRACES/flows.pcap $SCRIPTS/capture.zeek  $DUMP %INPUT > output
# @TEST-EXEC: btest-diff output

redef MTC::block_interval = 20sec;
