##! Samples connections: direction, size and time of packets, and the first bytes of the first
##! eight. Hands each :zeek:see:`MTC::Record` to :zeek:see:`MTC::sampled`.
##!
##! A connection of at least :zeek:see:`MTC::min_packets` gives at most one early record, any number
##! of blocks, and one final record when it ends. A packet's size and direction are the difference
##! of the connection's counters before and after it, which is right inside tunnels too.

@load base/protocols/conn/removal-hooks

@load ./main

module MTC;

export {
	## What is known of a sampled connection.
	type State: record {
		## Who the originator was when the last packet was sampled: roles can flip.
		orig_h: addr;
		orig_p: port;
		## The connection's counters after the last packet that was sampled.
		orig_pkts: count &default=0;
		resp_pkts: count &default=0;
		bytes: count &default=0;
		## When the connection's first packet came.
		first: time;
		## When the block's first packet came, and when the next block may begin.
		start: time;
		end: time;
		## The block's samples.
		samples: vector of count;
		## How many samples the block may have.
		room: count;
		## The first eight samples, where these are not the first of one block.
		early_samples: vector of count &optional;
		## The first bytes of the first packets, until a record has them.
		head: vector of string;
		## Blocks that wait for the connection to have enough packets.
		past: vector of Record &optional;
		## What is probably no payload of a TCP packet: IP and TCP headers of those before.
		headers: count &default=0xffff;
		## What the connection had carried after the last packet.
		size: count &default=0;
		## Whether the early record is out.
		early: bool &default=F;
		## Where the block is full, until the next begins: what tunnels add to a packet's size.
		overhead: int &optional;
		## Whether the connection has enough packets for a final record.
		due: bool &default=F;
		## Whether the connection has ended.
		ended: bool &default=F;
	};

	## What a connection's first packet leaves until a second one comes; most get none.
	type FirstPacket: record {
		## When it came.
		ts: time;
		## The connection's counters after it.
		orig_pkts: count;
		bytes: count;
		size: count;
		## Its first bytes.
		head: string;
	};

	redef record connection += {
		mtc_first: FirstPacket &optional;
		mtc: State &optional;
		## The same, where packets after the first eight are sampled.
		mtc_followed: State &optional;
	};

	## Ends the sampling of a connection with its final record; when it is removed this happens by
	## itself.
	global finish: function(c: connection);
}

# Called when a connection has enough packets for a final record, and again right before it ends.
global owed: hook(c: connection, is_owed: bool);

# Called when a sampled connection is removed, after its final record was made.
global removed: hook(c: connection);

# Connections that are held and that are followed, and those that there was no room for.
global connections = 0;
global followed = 0;
global unsampled_connections = 0;

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

# Of ICMP, TCP, UDP and ICMPv6.
const sampled_protocols: set[count] = { 1, 6, 17, 58 };

# The IP and TCP headers of a packet have at least this length.
const least_headers = 40;

# And at most this length, without extension headers.
const most_headers = 100;

# The options of a TCP header have at most this length.
const most_options = 40;

# Where tunnels seem to put more before a packet, this much of that is sampled.
const most_tunnel_bytes = 256;

const from_responder = 0x100000000;

function is_ignored(id: conn_id): bool
	{
	return id$proto !in sampled_protocols ||
	    |ignore_ports| > 0 && id$resp_p in ignore_ports ||
	    |ignore_subnets| > 0 && ( id$orig_h in ignore_subnets || id$resp_h in ignore_subnets );
	}

function is_drawn(c: connection): bool
	{
	return fnv1a32(c$uid + "/rate") < sampling_rate * 4294967296.0;
	}

function is_sampled(c: connection): bool
	{
	if ( is_ignored(c$id) || sampling_rate < 1.0 && ! is_drawn(c) || ! hook sample_policy(c) )
		return F;

	if ( connections < max_connections )
		return T;

	++unsampled_connections;
	return F;
	}

# A hook of the connection's own: an event would be for each of those that are not sampled, too.
hook sampled_connection_ends(c: connection)
	{
	finish(c);
	hook removed(c);
	}

# Begins to sample a connection, with its first packet.
function begin(c: connection)
	{
	local p = c$mtc_first;
	delete c$mtc_first;

	if ( ! is_sampled(c) )
		return;

	++connections;
	local start = p$ts;
	local length = p$bytes < 0xffff ? p$bytes : 0xffff;
	local payload = p$size < length && ( c$id$proto == 6 || c$id$proto == 17 ) ? p$size : 0;
	local st = State($orig_h=c$id$orig_h, $orig_p=c$id$orig_p, $orig_pkts=p$orig_pkts,
	    $resp_pkts=1 - p$orig_pkts, $bytes=p$bytes, $size=p$size, $first=start, $start=start,
	    $end=blocks ? start + block_interval : start + 36500days, $room=max_samples,
	    $samples=vector(( p$orig_pkts == 1 ? 0 : from_responder ) | length << 16 | payload),
	    $head=head_bytes > 0 ? vector(p$head) : vector());

	if ( c$id$proto == 6 && payload + least_headers <= length && length <= payload + most_headers )
		st$headers = length - payload;

	c$mtc = st;
	Conn::register_removal_hook(c, sampled_connection_ends);
	}

function inverted(samples: vector of count): vector of count
	{
	local result: vector of count;

	for ( _, packed in samples )
		result += packed ^ from_responder;

	return result;
	}

# Roles have flipped: what is still held is told anew.
function flip(c: connection, st: State)
	{
	local orig_pkts = st$orig_pkts;
	st$orig_h = c$id$orig_h;
	st$orig_p = c$id$orig_p;
	st$orig_pkts = st$resp_pkts;
	st$resp_pkts = orig_pkts;
	st$samples = inverted(st$samples);

	if ( st?$early_samples )
		st$early_samples = inverted(st$early_samples);

	if ( ! st?$past )
		return;

	for ( _, r in st$past )
		{
		r$orig_h = c$id$orig_h;
		r$orig_p = c$id$orig_p;
		r$resp_h = c$id$resp_h;
		r$resp_p = c$id$resp_p;
		r$samples = inverted(r$samples);
		}
	}

function new_record(c: connection, kind: Kind, start: time, samples: vector of count): Record
	{
	return Record($kind=kind, $uid=c$uid, $orig_h=c$id$orig_h, $orig_p=c$id$orig_p,
	    $resp_h=c$id$resp_h, $resp_p=c$id$resp_p, $start=start, $samples=samples);
	}

# There may be more samples than a block has room for if *max_samples* is less than the thresholds.
function samples_of(st: State): vector of count
	{
	return |st$samples| > st$room ? st$samples[:st$room] : st$samples;
	}

function emit_past(c: connection, st: State)
	{
	local past = st$past;
	delete st$past;

	for ( _, r in past )
		hook sampled(c, r);
	}

# A packet after the end of the block has come, the connection's `pkts`th.
function next_block(c: connection, st: State, pkts: count, now: time)
	{
	if ( ! st$early && pkts <= head_packets && ! st?$early_samples )
		st$early_samples = copy(st$samples);

	local r = new_record(c, BLOCK, st$start, samples_of(st));
	st$samples = vector();
	st$room = max_samples;

	if ( pkts >= min_packets )
		hook sampled(c, r);
	else if ( st?$past )
		st$past += r;
	else
		st$past = vector(r);

	st$start = now;
	st$end = st$first + block_interval * ( floor(( now - st$first ) / block_interval) + 1.0 );

	if ( st$end <= now )
		st$end = now + block_interval;
	}

function offset(start: time, now: time): count
	{
	if ( now <= start )
		return 0;

	local microseconds = double_to_count(( now - start ) / 1usec);
	return microseconds < 0x7fffffff ? microseconds : 0x7fffffff;
	}

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
# no more functions and names no more values than it must.
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

# The last packet's sample, less the time, and its length.
function last_packed(st: State): count
	{
	return st$samples[|st$samples| - 1] & 0x1ffffffff;
	}

function last_length(st: State): count
	{
	return last_packed(st) >> 16 & 0xffff;
	}

# The connection has enough packets for a final record.
function owe(c: connection, st: State)
	{
	st$due = T;
	hook owed(c, T);
	}

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

function emit_early(c: connection, st: State)
	{
	st$early = T;
	local samples = st?$early_samples ? st$early_samples : copy(st$samples);
	local r = new_record(c, EARLY, st$first, samples);
	r$head = st$head;
	st$head = vector();
	hook sampled(c, r);

	if ( ! blocks || followed >= max_followed )
		return;

	++followed;
	c$mtc_followed = st;

	if ( last_threshold == head_packets )
		follow(c, st);
	}

# Takes one of the first packets after the first, the `pkts`th. Like take_packet() it calls little.
function early_packet(c: connection, pkts: count)
	{
	if ( c?$mtc_first )
		begin(c);

	if ( ! c?$mtc )
		return;

	local st = c$mtc;

	if ( ! st$due && ( pkts >= min_packets || pkts == head_packets ) )
		owe(c, st);

	if ( c$id$orig_p != st$orig_p || c$id$orig_h != st$orig_h )
		flip(c, st);

	if ( st?$past && pkts >= min_packets )
		emit_past(c, st);

	take_packet(c, st, pkts);

	if ( st?$early_samples )
		st$early_samples += last_packed(st) | offset(st$first, get_current_packet_ts()) << 33;

	if ( head_bytes > 0 )
		{
		local length = c?$tunnel ? head_bytes + tunnel_bytes(last_length(st)) : head_bytes;
		st$head += get_current_packet()$data[:length];
		}

	if ( pkts == head_packets )
		emit_early(c, st);
	}

event conn_generic_packet_threshold_crossed(c: connection, threshold: count)
	{
	# Of most connections the first packet is the only one: as little as possible is done.
	if ( threshold == 1 )
		{
		local bytes = c$orig$num_bytes_ip + c$resp$num_bytes_ip;
		c$mtc_first = FirstPacket($ts=get_current_packet_ts(), $orig_pkts=c$orig$num_pkts,
		    $bytes=bytes, $size=c$orig$size + c$resp$size, $head=head_bytes == 0 ? "" :
		    get_current_packet()$data[:c?$tunnel ? head_bytes + tunnel_bytes(bytes) : head_bytes]);

		if ( min_packets > 1 )
			return;

		begin(c);

		if ( c?$mtc )
			owe(c, c$mtc);
		}
	else if ( threshold <= head_packets )
		early_packet(c, threshold);
	else if ( c?$mtc_followed && threshold <= last_threshold )
		{
		take_packet(c, c$mtc_followed, threshold);

		if ( threshold == last_threshold )
			follow(c, c$mtc_followed);
		}
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

event connection_flipped(c: connection)
	{
	if ( c?$mtc_first )
		c$mtc_first$orig_pkts = 1 - c$mtc_first$orig_pkts;
	else if ( c?$mtc && ( c$id$orig_p != c$mtc$orig_p || c$id$orig_h != c$mtc$orig_h ) )
		flip(c, c$mtc);
	}

function finish(c: connection)
	{
	if ( ! c?$mtc || c$mtc$ended )
		return;

	local st = c$mtc;
	st$ended = T;
	--connections;

	if ( c?$mtc_followed )
		--followed;

	if ( ! st$due )
		return;

	hook owed(c, F);
	local r = new_record(c, FINAL, st$start, samples_of(st));

	if ( ! st$early )
		r$head = st$head;

	hook sampled(c, r);
	}
