# Prints each record: kind, connection, time since the epoch, samples as time/direction/size/payload.
hook MTC::sampled(c: connection, r: MTC::Record) &priority=-5
	{
	local texts: vector of string;

	for ( _, s in r$samples )
		texts += fmt("%d%s%d/%d", s >> 33, s >> 32 & 1 == 1 ? "<" : ">", s >> 16 & 0xffff, s & 0xffff);

	local heads: vector of count;

	for ( _, h in r$head )
		heads += |h|;

	print fmt("%s %s:%s > %s:%s at %.6f", r$kind, r$orig_h, r$orig_p, r$resp_h, r$resp_p, r$start);
	print fmt("  %s", join_string_vec(texts, " "));
	print fmt("  heads %s", heads);
	}
