##! Takes packets, by Zeek's counters of their connection: that is right inside tunnels too.

@load ./main
@load ./records

module MTC;

# Where tunnels seem to put more before a packet, this much of that is sampled.
const most_tunnel_bytes = 256;

function outer_length(): int
	{
	local header = get_current_packet_header();

	if ( header?$ip )
		return header$ip$len;

	return header?$ip6 ? header$ip6$len + 40 : 0;
	}

# What tunnels have put before a packet, `length` bytes long.
function tunnel_bytes(length: count): count
	{
	local bytes: int = outer_length();
	bytes -= length;
	return bytes > 0 ? ( bytes < most_tunnel_bytes ? int_to_count(bytes) : most_tunnel_bytes ) : 0;
	}

# Takes the packet that has just come, the connection's `pkts`th. This is what costs most, above all
# arithmetic and reads of fields; what can be told from the counters later is left to the sensor.
function take_packet(c: connection, st: State, pkts: count)
	{
	local now = get_current_packet_ts();

	if ( now >= st$end )
		next_block(c, st, pkts, now);

	st$packets$times += now;
	st$packets$counters += st$orig$num_bytes_ip + ( st$resp$num_bytes_ip << 17 ) +
	    ( st$orig$size + st$resp$size << 34 );
	}
