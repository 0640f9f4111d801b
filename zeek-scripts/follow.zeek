##! Follows connections past their first packets, for blocks: as many packets as there are thresholds,
##! then those that are asked for one by one, and where a block is full, the one that begins the next.

@load ./main
@load ./packets
@load ./records

module MTC;

# With one threshold for each packet Zeek says cheapest that a packet has come.
function thresholds(last: count): set[count]
	{
	local numbers: set[count];

	while ( last > 0 )
		{
		add numbers[last];
		--last;
		}

	return numbers;
	}

const last_threshold = blocks && max_samples > head_packets ? max_samples : head_packets;

redef ConnThreshold::generic_packet_thresholds += thresholds(last_threshold);

# Has Zeek say when the next packet comes, in either direction.
function ask_for_next(c: connection)
	{
	set_current_conn_packets_threshold(c$id, c$orig$num_pkts + 1, T);
	set_current_conn_packets_threshold(c$id, c$resp$num_pkts + 1, F);
	}

# Follows a connection past the thresholds, or waits for its next block if this one is full. The
# counters will not say how long the packet is that begins it, but what tunnels add to the size of
# the last packet they will add to that one's.
function follow(c: connection, st: State)
	{
	if ( |st$packets$times| < st$room )
		{
		ask_for_next(c);
		return;
		}

	local outer = outer_length();
	st$overhead = outer > 0 ? outer - last_length(st$packets) : +0;
	ConnThreshold::set_duration_threshold(c, st$end - c$start_time - 0.5usec);
	}

event conn_packets_threshold_crossed(c: connection, threshold: count, is_orig: bool) &priority=-5
	{
	if ( ! c?$mtc_followed || c$mtc_followed?$overhead )
		return;

	local st = c$mtc_followed;
	local pkts = c$orig$num_pkts + c$resp$num_pkts;

	# Otherwise it is another script's threshold.
	if ( pkts <= last_threshold || pkts == taken(st) )
		return;

	take_packet(c, st, pkts);

	if ( |st$packets$times| < st$room )
		set_current_conn_packets_threshold(c$id, threshold + 1, is_orig);
	else
		follow(c, st);
	}

event ConnThreshold::duration_threshold_crossed(c: connection, threshold: interval, is_orig: bool)
	{
	if ( ! c?$mtc_followed || ! c$mtc_followed?$overhead )
		return;

	local st = c$mtc_followed;
	local length = outer_length() - st$overhead;
	local pkts = c$orig$num_pkts + c$resp$num_pkts;
	delete st$overhead;

	if ( pkts > taken(st) )
		{
		take_packet(c, st, pkts);

		# Of a block's first packet the counters tell together with those that were left out.
		if ( |st$packets$times| == 1 )
			{
			local added = length > 0 ? int_to_count(length) : 0;

			if ( is_orig == is_flipped(c, st) )
				added = swapped(added);

			st$packets$counters[0] = difference(added, st$packets$counters[1]);
			}
		}

	ask_for_next(c);
	}
