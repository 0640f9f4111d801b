##! Samples connections: direction, size and time of packets, and the first bytes of the first
##! eight. Hands each :zeek:see:`MTC::Record` to :zeek:see:`MTC::sampled`.
##!
##! A connection of at least :zeek:see:`MTC::min_packets` gives at most one early record, any number
##! of blocks, and one final record when it ends. A packet's size and direction are the difference
##! of the connection's counters before and after it, which is right inside tunnels too.

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
		pkts: count &default=0;
		bytes: count &default=0;
		size: count &default=0;
		## When the connection's first packet came.
		first: time;
		## When the block's first packet came, and when the next block may begin.
		start: time;
		end: time;
		## The block's samples.
		samples: vector of count;
		## The first eight samples, where these are not the first of one block.
		early_samples: vector of count &optional;
		## The first bytes of the first packets, until a record has them.
		head: vector of string;
		## Blocks that wait for the connection to have enough packets.
		past: vector of Record &optional;
		## Whether the early record is out.
		early: bool &default=F;
		## Where the block is full, until the next begins: what tunnels add to a packet's size.
		overhead: int &optional;
		## Whether the connection has ended.
		ended: bool &default=F;
	};

	redef record connection += {
		mtc: State &optional;
	};

	## Ends the sampling of a connection with its final record; when it is removed this happens by
	## itself.
	global finish: function(c: connection);
}

# Connections and samples that are held, and connections that there was no room for.
global connections = 0;
global held_samples = 0;
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

# The IP and transport headers of TCP and UDP have at least these lengths.
const least_headers: table[count] of count = { [6] = 40, [17] = 28 };

function is_ignored(id: conn_id): bool
	{
	if ( id$proto !in sampled_protocols || id$resp_p in ignore_ports )
		return T;

	return |ignore_subnets| > 0 && ( id$orig_h in ignore_subnets || id$resp_h in ignore_subnets );
	}

function is_drawn(c: connection): bool
	{
	return sampling_rate >= 1.0 || fnv1a32(c$uid + "/rate") < sampling_rate * 4294967296.0;
	}

function begin(c: connection)
	{
	if ( is_ignored(c$id) || ! is_drawn(c) || ! hook sample_policy(c) )
		return;

	if ( connections >= max_connections )
		{
		++unsampled_connections;
		return;
		}

	++connections;
	local now = get_current_packet_ts();
	c$mtc = State($orig_h=c$id$orig_h, $orig_p=c$id$orig_p, $first=now, $start=now,
	    $end=blocks ? now + block_interval : now + 36500days, $samples=vector(), $head=vector());
	}

function inverted(samples: vector of count): vector of count
	{
	local result: vector of count;

	for ( _, packed in samples )
		result += packed ^ 0x100000000;

	return result;
	}

# Roles have flipped: what is still held is told anew.
function flip(c: connection, st: State)
	{
	st$orig_h = c$id$orig_h;
	st$orig_p = c$id$orig_p;
	st$orig_pkts = st$pkts - st$orig_pkts;
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

function take_block(c: connection, st: State, kind: Kind): Record
	{
	local r = new_record(c, kind, st$start, st$samples);
	held_samples -= |st$samples|;
	st$samples = vector();
	return r;
	}

function emit_early(c: connection, st: State)
	{
	st$early = T;
	local samples = st?$early_samples ? st$early_samples : copy(st$samples);
	local r = new_record(c, EARLY, st$first, samples);
	r$head = st$head;
	st$head = vector();
	hook sampled(c, r);
	}

function emit_past(c: connection, st: State)
	{
	local past = st$past;
	delete st$past;

	for ( _, r in past )
		hook sampled(c, r);
	}

function next_block(c: connection, st: State, now: time)
	{
	if ( st$pkts <= head_packets && ! st$early && ! st?$early_samples )
		st$early_samples = copy(st$samples);

	local r = take_block(c, st, BLOCK);

	if ( st$pkts >= min_packets )
		hook sampled(c, r);
	else if ( st?$past )
		st$past += r;
	else
		st$past = vector(r);

	local passed = ( now - st$first ) / block_interval;
	st$start = now;
	st$end = st$first + block_interval * ( floor(passed) + 1.0 );

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

# What a packet of `length` bytes has added to what the connection carries. Of ICMP Zeek counts that
# too, but it is no payload of a transport.
function payload_of(c: connection, st: State, length: count): count
	{
	local size = c$orig$size + c$resp$size;
	local more = size > st$size ? size - st$size : 0;
	st$size = size;

	if ( more == 0 || c$id$proto !in least_headers )
		return 0;

	local headers = least_headers[c$id$proto];

	if ( length <= headers )
		return 0;

	return more < length - headers ? more : length - headers;
	}

# A packet of `length` bytes has come; the connection's counters include it.
function add_packet(c: connection, st: State, is_orig: bool, length: count, now: time)
	{
	local lengths = ( length < 0xffff ? length : 0xffff ) << 16 | payload_of(c, st, length);

	if ( ! is_orig )
		lengths = lengths | 0x100000000;

	st$orig_pkts = c$orig$num_pkts;
	st$pkts = st$orig_pkts + c$resp$num_pkts;
	st$bytes = c$orig$num_bytes_ip + c$resp$num_bytes_ip;

	if ( now >= st$end )
		next_block(c, st, now);

	if ( st?$past && st$pkts >= min_packets )
		emit_past(c, st);

	if ( |st$samples| < max_samples && held_samples < max_held_samples )
		{
		st$samples += lengths | offset(st$start, now) << 33;
		++held_samples;
		}

	if ( st?$early_samples && ! st$early )
		st$early_samples += lengths | offset(st$first, now) << 33;
	}

# Takes the packet that has just come.
function next_packet(c: connection, st: State)
	{
	if ( c$id$orig_p != st$orig_p || c$id$orig_h != st$orig_h )
		flip(c, st);

	local is_orig = c$orig$num_pkts > st$orig_pkts;
	local bytes = c$orig$num_bytes_ip + c$resp$num_bytes_ip;
	add_packet(c, st, is_orig, bytes - st$bytes, get_current_packet_ts());
	}

function outer_length(): int
	{
	local header = get_current_packet_header();

	if ( header?$ip )
		return header$ip$len;

	return header?$ip6 ? header$ip6$len + 40 : 0;
	}

# Follows a connection packet by packet, each of them asking for the next in its direction.
function follow(c: connection)
	{
	set_current_conn_packets_threshold(c$id, c$orig$num_pkts + 1, T);
	set_current_conn_packets_threshold(c$id, c$resp$num_pkts + 1, F);
	}

# The block is full: there is nothing to do until the packet that begins the next one. How long that
# is the counters will not say, but what tunnels add to it now they will add to it then.
function wait_for_block(c: connection, st: State, length: count)
	{
	st$overhead = outer_length() - length;
	ConnThreshold::set_duration_threshold(c, st$end - c$start_time - 0.5usec);
	}

function is_full(st: State): bool
	{
	return |st$samples| >= max_samples || held_samples >= max_held_samples;
	}

event conn_generic_packet_threshold_crossed(c: connection, threshold: count)
	{
	if ( threshold == 1 )
		begin(c);

	if ( ! c?$mtc || threshold > head_packets && ( ! blocks || threshold > last_threshold ) )
		return;

	local st = c$mtc;
	local before = st$bytes;
	next_packet(c, st);

	if ( threshold <= head_packets && head_bytes > 0 )
		st$head += get_current_packet()$data[:head_bytes];

	if ( threshold == head_packets )
		emit_early(c, st);

	if ( threshold != last_threshold || ! blocks )
		return;

	if ( is_full(st) )
		wait_for_block(c, st, st$bytes - before);
	else
		follow(c);
	}

event conn_packets_threshold_crossed(c: connection, threshold: count, is_orig: bool) &priority=-5
	{
	if ( ! c?$mtc || ! blocks )
		return;

	local st = c$mtc;
	local pkts = c$orig$num_pkts + c$resp$num_pkts;

	# Another script's threshold.
	if ( st$pkts < last_threshold || pkts == st$pkts || st?$overhead )
		return;

	local before = st$bytes;
	next_packet(c, st);

	if ( is_full(st) )
		wait_for_block(c, st, st$bytes - before);
	else
		set_current_conn_packets_threshold(c$id, ( is_orig ? c$orig : c$resp )$num_pkts + 1,
		    is_orig);
	}

event ConnThreshold::duration_threshold_crossed(c: connection, threshold: interval, is_orig: bool)
	{
	if ( ! c?$mtc || ! c$mtc?$overhead )
		return;

	local st = c$mtc;
	local overhead = st$overhead;
	delete st$overhead;

	if ( c$orig$num_pkts + c$resp$num_pkts > st$pkts )
		{
		local length = outer_length() - overhead;
		st$end = st$start;
		add_packet(c, st, is_orig, length > 0 ? int_to_count(length) : 0, get_current_packet_ts());
		}

	follow(c);
	}

function finish(c: connection)
	{
	if ( ! c?$mtc || c$mtc$ended )
		return;

	local st = c$mtc;
	st$ended = T;
	--connections;
	local r = take_block(c, st, FINAL);

	if ( st$pkts < min_packets && ! st$early )
		return;

	if ( ! st$early )
		r$head = st$head;

	hook sampled(c, r);
	}

event connection_state_remove(c: connection)
	{
	finish(c);
	}
