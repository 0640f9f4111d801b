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
	if ( |st$samples| < st$room )
		{
		ask_for_next(c);
		return;
		}

	st$overhead = outer_length() - last_length(st);
	ConnThreshold::set_duration_threshold(c, st$end - c$start_time - 0.5usec);
	}

event conn_packets_threshold_crossed(c: connection, threshold: count, is_orig: bool) &priority=-5
	{
	if ( ! c?$mtc_followed || c$mtc_followed?$overhead )
		return;

	local st = c$mtc_followed;
	local pkts = c$orig$num_pkts + c$resp$num_pkts;

	# Otherwise it is another script's threshold.
	if ( pkts <= last_threshold || pkts == st$orig_pkts + st$resp_pkts )
		return;

	take_packet(c, st, pkts);

	if ( |st$samples| < st$room )
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
	local pkts = st$orig_pkts + st$resp_pkts;
	delete st$overhead;
	st$orig_pkts = c$orig$num_pkts;
	st$resp_pkts = c$resp$num_pkts;
	st$bytes = c$orig$num_bytes_ip + c$resp$num_bytes_ip;
	st$size = c$orig$size + c$resp$size;

	if ( st$orig_pkts + st$resp_pkts > pkts && length > 0 )
		{
		next_block(c, st, st$orig_pkts + st$resp_pkts, get_current_packet_ts());
		local bytes = int_to_count(length);
		local payload = bytes > st$headers ? bytes - st$headers : 0;
		st$samples += ( is_orig ? 0 : from_responder ) | bytes << 16 | payload;
		}

	ask_for_next(c);
	}
