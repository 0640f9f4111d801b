##! Samples connections: direction, size and time of packets, and the first bytes of the first
##! eight. Hands each :zeek:see:`MTC::Record` to :zeek:see:`MTC::sampled`.
##!
##! A connection of at least :zeek:see:`MTC::min_packets` gives at most one early record, any number
##! of blocks, and one final record when it ends. A packet's size and direction are the difference
##! of the connection's counters before and after it, which is right inside tunnels too.

@load base/protocols/conn/removal-hooks

@load ./main
@load ./follow
@load ./packets
@load ./records

module MTC;

export {
	## What a connection's first packet leaves until a second one comes; most get none.
	type FirstPacket: record {
		## When it came.
		ts: time;
		## The connection's counter after it, as in :zeek:see:`MTC::Packets`.
		counter: count;
		## Its first bytes.
		head: string;
	};

	redef record connection += {
		mtc_first: FirstPacket &optional;
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

# Of ICMP, TCP, UDP and ICMPv6.
const sampled_protocols: set[count] = { 1, 6, 17, 58 };

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
	c$mtc = State($orig_h=c$id$orig_h, $orig_p=c$id$orig_p, $orig=c$orig, $resp=c$resp,
	    $first=p$ts, $end=blocks ? p$ts + block_interval : p$ts + 36500days, $room=max_samples,
	    $packets=Packets($times=vector(p$ts), $counters=vector(0, p$counter)),
	    $head=head_bytes > 0 ? vector(p$head) : vector());
	Conn::register_removal_hook(c, sampled_connection_ends);
	}

# The connection has enough packets for a final record.
function owe(c: connection, st: State)
	{
	st$due = T;
	hook owed(c, T);
	}

function emit_early(c: connection, st: State)
	{
	st$early = T;
	local packets = st?$early_packets ? st$early_packets : copy(st$packets);
	local r = new_record(c, st, EARLY, packets);
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

	if ( st?$past && pkts >= min_packets )
		emit_past(c, st);

	take_packet(c, st, pkts);

	if ( st?$early_packets )
		{
		st$early_packets$times += get_current_packet_ts();
		st$early_packets$counters += st$packets$counters[|st$packets$counters| - 1];
		}

	if ( head_bytes > 0 )
		{
		local length = c?$tunnel ? head_bytes + tunnel_bytes(last_length(st$packets)) : head_bytes;
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
		c$mtc_first = FirstPacket($ts=get_current_packet_ts(), $counter=c$orig$num_bytes_ip +
		    ( c$resp$num_bytes_ip << 17 ) + ( c$orig$size + c$resp$size << 34 ),
		    $head=head_bytes == 0 ? "" : get_current_packet()$data[:c?$tunnel ? head_bytes +
		    tunnel_bytes(c$orig$num_bytes_ip + c$resp$num_bytes_ip) : head_bytes]);

		if ( min_packets > 1 )
			return;

		begin(c);

		if ( c?$mtc )
			owe(c, c$mtc);
		}
	else if ( c?$mtc_followed && threshold < last_threshold )
		{
		# As take_packet(), without a call: there are far more of these packets than of others.
		local st = c$mtc_followed;
		local now = get_current_packet_ts();

		if ( now >= st$end )
			next_block(c, st, threshold, now);

		st$packets$times += now;
		st$packets$counters += st$orig$num_bytes_ip + ( st$resp$num_bytes_ip << 17 ) +
		    ( st$orig$size + st$resp$size << 34 );
		}
	else if ( threshold <= head_packets )
		early_packet(c, threshold);
	else if ( c?$mtc_followed && threshold == last_threshold )
		{
		take_packet(c, c$mtc_followed, threshold);
		follow(c, c$mtc_followed);
		}
	}

event connection_flipped(c: connection)
	{
	if ( c?$mtc_first )
		c$mtc_first$counter = swapped(c$mtc_first$counter);
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
	local r = new_record(c, st, FINAL, packets_of(st));

	if ( ! st$early )
		r$head = st$head;

	hook sampled(c, r);
	}
