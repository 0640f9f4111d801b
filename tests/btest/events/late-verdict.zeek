# @TEST-DOC: What counts as lost when a sensor begins again takes no verdict of the one before.
# @TEST-EXEC: zeek -C --pseudo-realtime -r $TRACES/stream.pcap $SCRIPTS %INPUT > output 2> errors
# @TEST-EXEC: btest-diff output

@load policy/frameworks/cluster/backend/zeromq
redef Cluster::Backend::ZeroMQ::run_proxy_thread = T;
redef Cluster::Backend::ZeroMQ::listen_xpub_endpoint = "ipc://xpub";
redef Cluster::Backend::ZeroMQ::listen_xsub_endpoint = "ipc://xsub";
redef Cluster::Backend::ZeroMQ::connect_xsub_endpoint = "ipc://xpub";
redef Cluster::Backend::ZeroMQ::connect_xpub_endpoint = "ipc://xsub";

event zeek_init() &priority=-10
	{
	event MTC::sensor_hello(1, "first", vector(0));
	event MTC::grant(1, "first", MTC::run, "zeek", 0, 0, 10);
	}

hook MTC::sampled(c: connection, r: MTC::Record) &priority=-20
	{
	if ( r$kind != MTC::EARLY )
		return;

	event MTC::sensor_hello(1, "second", vector(0));
	event MTC::verdict_batch(1, "first", MTC::run, "zeek", 0, vector(MTC::Opinion($seq=1,
	    $uid=r$uid, $model="byte-cnn", $label="Neris", $score=0.875, $flags=1)));
	}

module MTC;

hook MTC::policy(v: MTC::Verdict)
	{
	print "taken", v$sensor;
	}

event zeek_done()
	{
	local st = MTC::streams[0];
	print fmt("published %d, lost %d, stale %d", st$sent, st$lost, stale_verdicts);
	}
