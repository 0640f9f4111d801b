# @TEST-DOC: Events that make no sense are counted; nothing else happens.
# @TEST-EXEC: with-peer -- -r $TRACES/flows.pcap %INPUT > output
# @TEST-EXEC: cat peer.out >> output
# @TEST-EXEC: btest-diff output
# @TEST-EXEC: grep -v "processing\|termination" zeek.err > errors || true
# @TEST-EXEC: test ! -s errors

global asked = F;

hook MTC::policy(v: MTC::Verdict)
	{
	if ( asked )
		return;

	asked = T;
	local run = MTC::run;
	event MTC::grant(2, "s", run, "zeek", 0, 0, 10);
	event MTC::grant(1, "s", "other", "zeek", 0, 0, 10);
	event MTC::grant(1, "s", run, "zeek", 7, 0, 10);
	event MTC::grant(1, "s", run, "zeek", 0, 18446744073709551615, 10);
	event MTC::grant(1, "s", run, "zeek", 0, 0, 18446744073709551615);
	event MTC::resend(1, "s", run, "zeek", 0, 5, 1);
	event MTC::resend(1, "s", run, "zeek", 9, 5, 1);
	event MTC::sensor_hello(3, "s", vector(0));
	event MTC::sensor_hello(1, "s", vector(18446744073709551615));
	event MTC::sensor_hello(1, "s", vector());
	event MTC::verdict(1, "s", run, "zeek", 0, 1, "Cnone", 10.0.0.1, 1/tcp, 10.0.0.2, 2/tcp, 0, 0,
	    "m", "l", 0.5, 1, "");
	event MTC::verdict(1, "s", run, "zeek", 0, 999999, v$uid, 10.0.0.1, 1/tcp, 10.0.0.2, 2/tcp,
	    0, 7, "m", "l", 0.5, 1, "");
	event MTC::verdict(1, "s", run, "zeek", 0, 1, v$uid, 10.0.0.1, 1/tcp, 10.0.0.2, 2/tcp, 0, 0,
	    "m", "l", 1.5, 1, "");
	event MTC::verdict(1, "s", run, "zeek", 0, 1, v$uid, 10.0.0.1, 1/tcp, 10.0.0.2, 2/tcp, 0, 0,
	    "", "", 0.5, 1, "");
	}

event zeek_done()
	{
	local families = Telemetry::collect_metrics("zeek", "mtc_*");

	for ( _, m in families )
		print m$opts$name, m$label_values, m$value;
	}
