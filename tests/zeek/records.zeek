##! Prints what is published, without a bus: the line of each record, after the link type.

module MTC;

# Packets are all there is to it; what connections say is not looked at.
redef Log::default_writer = Log::WRITER_NONE;

event network_time_init()
	{
	link_type = int_to_count(packet_source()$link_type);
	}

hook sampled(c: connection, r: Record) &priority=-5
	{
	print fmt("%d %s", link_type, to_line(r));
	}
