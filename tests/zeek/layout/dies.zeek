##! A worker that comes to a halt after 32 records, which are published together, and claims to have
##! published five more, which went down with it.

global seen = 0;

hook MTC::sampled(c: connection, r: MTC::Record) &priority=-20
	{
	if ( ++seen == 32 )
		suspend_processing();
	}

event MTC::grant(version: count, sensor: string, run: string, node: string, shard: count,
    acked: count, window: count) &priority=-20
	{
	if ( acked != 32 )
		return;

	Cluster::publish("/zeek/mtc/sensors/0/", MTC::exporter_status, MTC::version, MTC::run, MTC::node,
	    0, 33, 37, 0);
	print "32 are settled";
	flush_all();
	}
