# @TEST-DOC: A hook leaves connections out.
# @TEST-EXEC: zeek -C -r $TRACES/flows.pcap $SCRIPTS/capture.zeek  $DUMP %INPUT > output
# @TEST-EXEC: btest-diff output

hook MTC::sample_policy(c: connection)
	{
	if ( c$id$resp_p != 5001/udp )
		break;
	}
