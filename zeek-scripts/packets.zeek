##! Takes packets: their direction, length and payload by Zeek's counters of the connection, which do
##! not say all of it; then the packet itself is asked.

@load ./main
@load ./records

module MTC;

# The IP and TCP headers of a packet have at least this length.
const least_headers = 40;

# And at most this length, without extension headers.
const most_headers = 100;

# The options of a TCP header have at most this length.
const most_options = 40;

# Where tunnels seem to put more before a packet, this much of that is sampled.
const most_tunnel_bytes = 256;

# The payload of the outermost packet, if that is TCP and `length` bytes long: not in a tunnel, and
# not the last fragment of a datagram.
function outer_payload(length: count, otherwise: count): count
	{
	local header = get_current_packet_header();

	if ( ! header?$tcp )
		return otherwise;

	local outer = header?$ip ? header$ip$len : header$ip6$len + 40;
	return outer == length ? header$tcp$dl : otherwise;
	}

# Whether the headers of a TCP packet seem to be longer or shorter by some options than those before.
function has_other_options(st: State, length: count, added: count): bool
	{
	if ( st$headers == 0xffff )
		return added > 0;

	local options: int = length;
	options -= added + st$headers;
	return -most_options <= options && options <= most_options && options % 4 == 0;
	}

# The payload of a TCP packet, `length` bytes long, that `added` so many bytes to the stream: all but
# the headers. Where these seem to differ the packet itself is asked, which costs much.
function tcp_payload(st: State, length: count, added: count): count
	{
	if ( length == 0 )
		return added;

	local payload = length > st$headers ? length - st$headers : 0;

	if ( has_other_options(st, length, added) )
		payload = outer_payload(length, added);

	if ( length < payload + st$headers && length >= payload + least_headers )
		st$headers = length - payload;

	return payload;
	}

# The payload of a packet, `length` bytes long, that `added` so many bytes to what the connection
# carries; not for packets with the same headers as the one before.
function payload_of(c: connection, st: State, length: count, added: count): count
	{
	if ( c$id$proto == 6 )
		added = tcp_payload(st, length, added);
	else if ( c$id$proto == 17 )
		st$headers = length > added ? length - added : 0;
	else
		return 0;

	return added < 0xffff ? added : 0xffff;
	}

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

# Takes the packet that has just come, the connection's `pkts`th. This is what costs most: it calls
# no more functions and reads no more fields than it must.
function take_packet(c: connection, st: State, pkts: count)
	{
	local now = get_current_packet_ts();
	local bytes = c$orig$num_bytes_ip + c$resp$num_bytes_ip;
	local size = c$orig$size + c$resp$size;
	local length = bytes - st$bytes;
	local payload = size > st$size ? size - st$size : 0;
	st$bytes = bytes;
	st$size = size;

	# Of IPv6 it can be.
	if ( length > 0xffff )
		length = 0xffff;

	if ( payload + st$headers != length )
		payload = payload_of(c, st, length, payload);

	if ( now >= st$end )
		next_block(c, st, pkts, now);

	local packed = length << 16 | payload;

	if ( c$orig$num_pkts > st$orig_pkts )
		st$orig_pkts = c$orig$num_pkts;
	else
		{
		st$resp_pkts = c$resp$num_pkts;
		packed = packed | from_responder;
		}

	if ( now > st$start )
		{
		local microseconds = double_to_count(( now - st$start ) / 1usec);
		st$samples += packed | ( microseconds < 0x7fffffff ? microseconds : 0x7fffffff ) << 33;
		}
	else
		st$samples += packed;
	}
