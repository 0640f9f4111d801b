##! Prints what is published of each record, without a bus: one line of fields, one of heads, one of
##! packets.

module MTC;

# Packets are all there is to it; what connections say is not looked at.
redef Log::default_writer = Log::WRITER_NONE;

event network_time_init()
	{
	link_type = int_to_count(packet_source()$link_type);
	}

hook sampled(c: connection, r: Record) &priority=-5
	{
	print fmt("%d %s %s %s %s %s %d %d", r$kind, r$uid, r$orig_h, r$orig_p, r$resp_h, r$resp_p,
	    to_microseconds(r$start), link_type);
	print join_string_vec(encoded(r$head), " ");
	print to_json(r$packets);
	}
