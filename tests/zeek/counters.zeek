##! Tells tests what becomes of records: each verdict as it comes, the time every 50 ms, and every
##! counter at the end.

module MTC;

# Zeek's own standard output is buffered.
global told = open("/dev/stdout");

hook policy(v: Verdict)
	{
	print told, fmt("verdict %s %s %.6f %s", v$uid, v$kind, v$start, v$model);
	}

event tick()
	{
	print told, fmt("tick %.6f", network_time());
	schedule 50msec { tick() };
	}

event zeek_init() &priority=10
	{
	set_buf(told, F);

	if ( reading_live_traffic() )
		event tick();
	}

# How many records were published of which no verdict has come and that no ack has settled.
function unanswered(st: Stream): count
	{
	local result = 0;

	for ( seq, p in st$pending )
		if ( seq <= st$sent && |p$models| == 0 )
			++result;

	return result;
	}

event zeek_done() &priority=-100
	{
	for ( _, st in streams )
		print told, fmt("counter last %d sent %d highest %d acked %d shed %d lost %d unanswered %d",
		    st$last, st$sent, st$highest, st$acked, st$shed, st$lost, unanswered(st));

	print told, fmt("counter refused %d stale %d", refused, stale_verdicts);
	}
