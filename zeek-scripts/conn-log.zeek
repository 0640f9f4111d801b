##! Adds verdicts to conn.log.
##!
##! Live, a line is written when its connection ends, with the verdicts that have come by then: in
##! general those on the early record and on blocks, if the connection goes on for longer than the
##! sensor takes, and never those on the final record. In a replay a line waits until all records of
##! its connection have been judged; so lines are there for all connections that gave a record.

@load base/protocols/conn

@load ./capture
@load ./publish
@load ./verdict

module MTC;

redef record State += {
	## Label, score and weight of the verdict that counts most so far. Not the verdict itself: it
	## holds the connection, which would be kept forever.
	label: string &optional;
	score: double &optional;
	weight: double &default=-1.0;
	## Whether the final record was given to a stream and has not been judged.
	undecided: bool &default=F;
	## What holds the line in conn.log back.
	delay: Log::DelayToken &optional;
};

redef record Conn::Info += {
	## What the connection was taken for.
	mtc_label: string &log &optional;
	## Of a malicious verdict the probability of that, of others that of the label.
	mtc_score: double &log &optional;
	## The connection's state, as long as the line has to wait for a verdict.
	mtc: State &optional;
};

# Packets wait for the sensor before there are so many lines that do.
const longest_delay = 36500days;
const most_delayed = 10000000;

# Malicious counts more than any label, a label more than unknown, then the higher score.
function weight(v: Verdict): double
	{
	return v$score + ( v$malicious ? 4.0 : v$unknown ? 0.0 : 2.0 );
	}

hook policy(v: Verdict) &priority=-10
	{
	local st = v$c$mtc;
	local w = weight(v);

	if ( w <= st$weight )
		return;

	st$label = v$label;
	st$score = v$score;
	st$weight = w;
	}

function label(info: Conn::Info, st: State)
	{
	if ( ! st?$label )
		return;

	info$mtc_label = st$label;
	info$mtc_score = st$score;
	}

# After publish.zeek has given the record to a stream.
hook sampled(c: connection, r: Record) &priority=-15
	{
	if ( replaying && r$kind == FINAL )
		c$mtc$undecided = T;
	}

# Handlers of this group are called for each line of each log; most lines need not wait.
const waiting_group = "mtc-waiting-line";

# Before the line is written.
hook removed(c: connection)
	{
	if ( ! c?$conn )
		return;

	label(c$conn, c$mtc);

	if ( ! c$mtc$undecided )
		return;

	c$conn$mtc = c$mtc;
	enable_event_group(waiting_group);
	}

# Called when a line goes on its way, also because Zeek ends.
function released(rec: any, id: Log::ID): bool
	{
	local info = rec as Conn::Info;
	label(info, info$mtc);
	delete info$mtc$delay;
	delete info$mtc;
	return T;
	}

# The last, for what others veto cannot be released any more.
hook Log::log_stream_policy(rec: any, id: Log::ID) &priority=-100 &group="mtc-waiting-line"
	{
	if ( id != Conn::LOG )
		return;

	local info = rec as Conn::Info;

	if ( ! info?$mtc )
		return;

	info$mtc$delay = Log::delay(id, info, released);
	disable_event_group(waiting_group);
	}

hook answered(p: Pending)
	{
	if ( ! replaying || p$r$kind != FINAL )
		return;

	local st = p$c$mtc;
	st$undecided = F;

	if ( st?$delay )
		Log::delay_finish(Conn::LOG, p$c$conn, st$delay);
	}

event zeek_init() &priority=-5
	{
	disable_event_group(waiting_group);

	if ( ! replaying )
		return;

	Log::set_max_delay_interval(Conn::LOG, longest_delay);
	Log::set_max_delay_queue_size(Conn::LOG, most_delayed);
	}
