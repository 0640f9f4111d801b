##! Adds verdicts to conn.log, as far as they came while the connection lived.

@load base/protocols/conn

@load ./capture
@load ./verdict

module MTC;

redef record State += {
	## The verdict that counts most so far.
	verdict: Verdict &optional;
};

redef record Conn::Info += {
	## What the connection was taken for.
	mtc_label: string &log &optional;
	## Of a malicious verdict the probability of that, of others that of the label.
	mtc_score: double &log &optional;
};

# Malicious counts more than any label, a label more than unknown, then the higher score.
function weight(v: Verdict): double
	{
	return v$score + ( v$malicious ? 4.0 : v$unknown ? 0.0 : 2.0 );
	}

hook policy(v: Verdict) &priority=-10
	{
	local st = v$c$mtc;

	if ( ! st?$verdict || weight(v) > weight(st$verdict) )
		st$verdict = v;
	}

event connection_state_remove(c: connection)
	{
	if ( ! c?$conn || ! c?$mtc || ! c$mtc?$verdict )
		return;

	c$conn$mtc_label = c$mtc$verdict$label;
	c$conn$mtc_score = c$mtc$verdict$score;
	}
