# @TEST-DOC: Connections in words, without and with the name that a client asked for; none unless asked.
# @TEST-EXEC: zeek -C -r $REPOSITORY/samples/demo.pcap $SCRIPTS/capture.zeek $SCRIPTS/tls.zeek %INPUT > without
# @TEST-EXEC: zeek -C -r $REPOSITORY/samples/demo.pcap $SCRIPTS/capture.zeek $SCRIPTS/tls.zeek %INPUT MTC::server_names=T > with
# @TEST-EXEC: zeek -C -r $REPOSITORY/samples/demo.pcap $SCRIPTS %INPUT > none
# @TEST-EXEC: grep -q "alpn:h2" without && grep -q "ciphers_order:" without && ! grep -q " sni:" without
# @TEST-EXEC: grep -q " sni:" with
# @TEST-EXEC: test ! -s none

hook MTC::sampled(c: connection, r: MTC::Record) &priority=-5
	{
	if ( r$tokens != "" )
		print r$tokens;
	}
