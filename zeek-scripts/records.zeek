##! What is held of a sampled connection, and the records that are made of it.

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

	redef record connection += {
		## There once the connection is sampled, which is with its second packet.
		mtc: State &optional;
		## The same, where packets after the first eight are sampled.
		mtc_followed: State &optional;
	};
}

const from_responder = 0x100000000;

function offset(start: time, now: time): count
	{
	if ( now <= start )
		return 0;

	local microseconds = double_to_count(( now - start ) / 1usec);
	return microseconds < 0x7fffffff ? microseconds : 0x7fffffff;
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
