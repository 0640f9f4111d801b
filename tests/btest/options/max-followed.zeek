# @TEST-DOC: Nothing is followed beyond eight packets.
# @TEST-EXEC: zeek -C -r $TRACES/flows.pcap $SCRIPTS/capture.zeek  $DUMP %INPUT > output
# @TEST-EXEC: btest-diff output

redef MTC::max_followed = 0;
