##! Takes verdicts in: mtc.log, notices, and a hook for other scripts.

@load base/frameworks/notice

@load ./main
@load ./capture
@load ./flow-control
@load ./publish

module MTC;

export {
	redef enum Log::ID += { LOG };

	redef enum Notice::Type += {
		## A model takes a connection for malicious.
		Malicious_Flow,
		## A model takes a connection for none of what it knows.
		Unknown_Traffic,
	};

	## Whether :zeek:see:`MTC::Unknown_Traffic` is raised.
	option notice_unknown: bool = F;

	## A verdict: one model's opinion on one record.
	type Verdict: record {
		## When the verdict came.
		ts: time &log;
		uid: string &log;
		id: conn_id &log;
		proto: transport_proto &log;
		model: string &log;
		## What the model asserts, or "unknown".
		label: string &log;
		## Between 0 and 1: of a malicious verdict the probability that the connection is
		## malicious, of others that of the likeliest label.
		score: double &log;
		malicious: bool &log;
		unknown: bool &log;
		## Why the record was made: "early", "block" or "final".
		kind: string &log;
		## How many packets were judged.
		packets: count &log;
		## How long it took from the record to the verdict, by the wall clock.
		latency: interval &log;
		## What the model bases this on.
		detail: string &log &optional;
		sensor: string;
		## The connection; it may have ended.
		c: connection;
		## When the record's first packet came, and the time from there to its last.
		start: time;
		span: interval;
	};

	## Called with each verdict before it is logged. Handlers may amend it; break to discard it.
	global policy: hook(v: Verdict);

	## Generated for each verdict that is logged.
	global log_mtc: event(v: Verdict);

	## A default logging policy hook for the stream.
	global log_policy: Log::PolicyHook;
}

# Verdicts on records that are no longer known, or that had one from the model.
global stale_verdicts = 0;

# How many models may have an opinion on a record.
const most_models = 100;

const malicious_flag = 1;
const unknown_flag = 2;

function new_verdict(p: Pending, sensor: string, o: Opinion): Verdict
	{
	local r = p$r;
	local n = |r$packets$times|;
	local id = conn_id($orig_h=r$orig_h, $orig_p=r$orig_p, $resp_h=r$resp_h, $resp_p=r$resp_p);
	return Verdict($ts=network_time(), $uid=r$uid, $id=id,
	    $proto=get_port_transport_proto(r$orig_p), $model=o$model, $label=o$label,
	    $score=o$score, $malicious=o$flags & malicious_flag != 0,
	    $unknown=o$flags & unknown_flag != 0, $packets=n,
	    $kind=r$kind == EARLY ? "early" : r$kind == FINAL ? "final" : "block",
	    $latency=current_time() - p$made, $detail=o$detail, $sensor=sensor, $c=p$c,
	    $start=r$start, $span=r$packets$times[n - 1] - r$start);
	}

function new_notice(v: Verdict, note: Notice::Type, msg: string): Notice::Info
	{
	local n = Notice::Info($note=note, $msg=msg, $sub=fmt("%s record, %d packets in %.3f s: %s",
	    v$kind, v$packets, interval_to_double(v$span), v$detail), $src=v$id$orig_h,
	    $dst=v$id$resp_h, $p=v$id$resp_p, $uid=v$uid, $id=v$id,
	    $identifier=cat(v$id$orig_h, "-", v$id$resp_h, "-", v$id$resp_p, "-", v$label));

	if ( ! v$c$mtc$ended )
		n$conn = v$c;

	return n;
	}

function raise_notice(v: Verdict)
	{
	local who = fmt("%s talks to %s port %s", v$id$orig_h, v$id$resp_h, v$id$resp_p);

	if ( v$malicious )
		NOTICE(new_notice(v, Malicious_Flow, fmt(
		    "%s like %s: model %s gives malicious traffic a probability of %.3f", who, v$label,
		    v$model, v$score)));
	else
		NOTICE(new_notice(v, Unknown_Traffic, fmt(
		    "%s like nothing that model %s knows: its best guess has a probability of %.3f",
		    who, v$model, v$score)));
	}

# Takes an opinion on a record that this node has given out, the first from its model; returns
# whether it is that. There are thousands in a second: no more is called or looked up than must be.
function take_opinion(p: Pending, sensor: string, o: Opinion): bool
	{
	if ( p$r$uid != o$uid || enum_to_int(p$r$kind) != o$kind || |p$models| == most_models )
		return F;

	for ( _, model in p$models )
		if ( model == o$model )
			return F;

	p$models += o$model;
	local v = new_verdict(p, sensor, o);

	if ( hook policy(v) )
		{
		Log::write(LOG, v);

		if ( v$malicious || v$unknown && notice_unknown )
			raise_notice(v);
		}

	return T;
	}

event MTC::verdict_batch(their_version: count, sensor: string, their_run: string,
    their_node: string, shard: count, verdicts: vector of Opinion)
	{
	if ( ! is_ours(their_version, their_run, their_node, shard) )
		return;

	local st = streams[shard];

	for ( _, o in verdicts )
		{
		if ( ! ( o$score >= 0.0 && o$score <= 1.0 ) || o$model == "" || o$label == "" )
			++refused;
		else if ( o$seq > st$highest || o$seq !in st$pending ||
		          ! take_opinion(st$pending[o$seq], sensor, o) )
			++stale_verdicts;
		}
	}

event zeek_init() &priority=5
	{
	Log::create_stream(LOG, [$columns=Verdict, $ev=log_mtc, $path="mtc", $policy=log_policy]);
	}
