##! What is held of a sampled connection, and the records that are made of it.

@load ./main

module MTC;

export {
	## What is known of a sampled connection.
	type State: record {
		## Who was the originator when its first packets were sampled: roles can flip.
		orig_h: addr;
		orig_p: port;
		## Who counts as originator and responder here, from then on.
		orig: endpoint;
		resp: endpoint;
		## When the connection's first packet came, and when the next block may begin.
		first: time;
		end: time;
		## The block's packets, and how many of the connection's were before them.
		packets: Packets;
		before: count &default=0;
		## How many packets the block may have.
		room: count;
		## The first eight packets, where these are not the first of one block.
		early_packets: Packets &optional;
		## The first bytes of the first packets, until a record has them.
		head: vector of string;
		## Blocks that wait for the connection to have enough packets.
		past: vector of Packets &optional;
		## Whether the early record is out.
		early: bool &default=F;
		## Where the block is full, until the next begins: what tunnels add to a packet's size.
		overhead: int &optional;
		## Whether the connection has enough packets for a final record.
		due: bool &default=F;
		## Whether the connection has ended.
		ended: bool &default=F;
	};

	redef record connection += {
		## There once the connection is sampled, which is with its second packet.
		mtc: State &optional;
		## The same, where packets after the first eight are sampled.
		mtc_followed: State &optional;
	};
}

# As much of a counter as one packet adds to the bytes of one side.
const length_bits = 0x1ffff;

function difference(before: count, after: count): count
	{
	# Zeek would warn of a difference below zero; a sum it cuts to 64 bits.
	return after + ~before + 1;
	}

# The last packet's length.
function last_length(p: Packets): count
	{
	local n = |p$counters|;
	local d = difference(p$counters[n - 2], p$counters[n - 1]);
	return ( d & length_bits ) + ( d >> 17 & length_bits );
	}

# How many of the connection's packets there were when the last was taken.
function taken(st: State): count
	{
	return st$before + |st$packets$times|;
	}

# Whether roles have flipped since the first packets.
function is_flipped(c: connection, st: State): bool
	{
	return c$id$orig_p != st$orig_p || c$id$orig_h != st$orig_h;
	}

# What a packet has added, in the other direction.
function swapped(d: count): count
	{
	return ( d >> 34 << 34 ) + ( ( d & length_bits ) << 17 ) + ( d >> 17 & length_bits );
	}

# The same packets in the other direction.
function inverted(p: Packets): Packets
	{
	local counters = p$counters[:1];

	for ( i, before in p$counters[:-1] )
		counters += counters[i] + swapped(difference(before, p$counters[i + 1]));

	return Packets($times=p$times, $counters=counters);
	}

function first_packets(p: Packets, number: count): Packets
	{
	return Packets($times=p$times[:number], $counters=p$counters[:number + 1]);
	}

function new_record(c: connection, st: State, kind: Kind, packets: Packets): Record
	{
	return Record($kind=kind, $uid=c$uid, $orig_h=c$id$orig_h, $orig_p=c$id$orig_p,
	    $resp_h=c$id$resp_h, $resp_p=c$id$resp_p, $start=packets$times[0],
	    $packets=is_flipped(c, st) ? inverted(packets) : packets);
	}

# There may be more packets than a block has room for if *max_samples* is less than the thresholds.
function packets_of(st: State): Packets
	{
	return |st$packets$times| > st$room ? first_packets(st$packets, st$room) : st$packets;
	}

function emit_past(c: connection, st: State)
	{
	local past = st$past;
	delete st$past;

	for ( _, packets in past )
		hook sampled(c, new_record(c, st, BLOCK, packets));
	}

# A packet after the end of the block has come, the connection's `pkts`th.
function next_block(c: connection, st: State, pkts: count, now: time)
	{
	local last = st$packets$counters[|st$packets$counters| - 1];

	if ( ! st$early && pkts <= head_packets && ! st?$early_packets )
		st$early_packets = copy(st$packets);

	local packets = packets_of(st);
	st$packets = Packets($times=vector(), $counters=vector(last));
	st$before = pkts - 1;
	st$room = max_samples;

	if ( pkts >= min_packets )
		hook sampled(c, new_record(c, st, BLOCK, packets));
	else if ( st?$past )
		st$past += packets;
	else
		st$past = vector(packets);

	st$end = st$first + block_interval * ( floor(( now - st$first ) / block_interval) + 1.0 );

	if ( st$end <= now )
		st$end = now + block_interval;
	}
