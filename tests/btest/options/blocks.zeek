# @TEST-DOC: Only the first eight packets, at the cost of eight thresholds.
# @TEST-EXEC: zeek -C -r $TRACES/flows.pcap %INPUT $DUMP > output
# @TEST-EXEC: btest-diff output

@load zeek-scripts/main
redef MTC::blocks = F;
@load zeek-scripts/capture

event zeek_init()
	{
	print |ConnThreshold::generic_packet_thresholds|;
	}
