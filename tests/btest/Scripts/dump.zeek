# Prints each record: kind, connection, time since the epoch, packets as time/direction/size/added
# payload.
module MTC;

hook sampled(c: connection, r: Record) &priority=-5
	{
	local texts: vector of string;
	local counters = r$packets$counters;

	for ( i, ts in r$packets$times )
		{
		local d = difference(counters[i], counters[i + 1]);
		local from_responder = d >> 17 & length_bits;
		texts += fmt("%.0f%s%d/%d", interval_to_double(ts - r$start) * 1e6,
		    from_responder > 0 ? "<" : ">", ( d & length_bits ) + from_responder, d >> 34);
		}

	local heads: vector of count;

	for ( _, h in r$head )
		heads += |h|;

	print fmt("%s %s:%s > %s:%s at %.6f", r$kind, r$orig_h, r$orig_p, r$resp_h, r$resp_p, r$start);
	print fmt("  %s", join_string_vec(texts, " "));
	print fmt("  heads %s", heads);
	}
