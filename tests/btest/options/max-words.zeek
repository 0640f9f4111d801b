# @TEST-DOC: No more than a given number of words is kept of a connection.
# @TEST-EXEC: zeek -C -r $REPOSITORY/samples/demo.pcap $SCRIPTS/capture.zeek $SCRIPTS/tls.zeek MTC::max_words=5 %INPUT > output
# @TEST-EXEC: test "$(sort -n output | tail -1)" = 5

hook MTC::sampled(c: connection, r: MTC::Record) &priority=-5
	{
	if ( c?$mtc_words )
		print |c$mtc_words|;
	}
