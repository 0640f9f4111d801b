# @TEST-DOC: Events that make no sense are counted; nothing else happens.
# @TEST-REQUIRES: peer-python
# @TEST-EXEC: with-peer -- -r $TRACES/flows.pcap %INPUT > output
# @TEST-EXEC: cat peer.out >> output
# @TEST-EXEC: btest-diff output
# @TEST-EXEC: grep -v "processing\|termination" zeek.err > errors || true
# @TEST-EXEC: test ! -s errors

global asked = F;

function opinion(seq: count, uid: string, model: string, score: double): MTC::Opinion
	{
	return MTC::Opinion($seq=seq, $uid=uid, $model=model, $label="l", $score=score, $flags=1);
	}

hook MTC::policy(v: MTC::Verdict)
	{
	if ( v$model == "other" )
		print "taken", v$kind, v$label;

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

	# What is wrong in a batch leaves the rest of it alone.
	local none = MTC::Opinion();
	local unknown = opinion(1, "Cnone", "m", 0.5);
	local no_number = opinion(1, v$uid, "m", 0.5);
	delete no_number$seq;
	local no_uid = opinion(1, v$uid, "m", 0.5);
	delete no_uid$uid;
	local no_score = opinion(1, v$uid, "m", 0.5);
	delete no_score$score;
	local opinions = vector(none, no_number, no_uid, no_score, unknown, opinion(999999, v$uid, "m", 0.5),
	    opinion(1, v$uid, "m", 1.5), opinion(1, v$uid, "", 0.5), opinion(1, v$uid, "m", -0.5));

	for ( seq, p in MTC::streams[0]$pending )
		if ( p$r$uid == v$uid && p$r$kind == MTC::EARLY )
			opinions += opinion(seq, v$uid, "other", 0.5);

	event MTC::verdict_batch(1, "s", run, "zeek", 0, opinions);
	event MTC::verdict_batch(1, "s", run, "zeek", 0, vector());
	event MTC::verdict_batch(2, "s", run, "zeek", 0, vector(unknown));
	event MTC::verdict_batch(1, "s", "other", "zeek", 0, vector(unknown));
	}

event zeek_done()
	{
	local families = Telemetry::collect_metrics("zeek", "mtc_*");

	for ( _, m in families )
		print m$opts$name, m$label_values, m$value;
	}
