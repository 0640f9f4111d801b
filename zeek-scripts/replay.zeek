##! Makes ``zeek -r`` lossless: packets wait for the sensor, and Zeek ends when every record has
##! been judged.
##!
##! Packet processing is suspended until each shard has a sensor, and whenever too many records
##! wait. While it is, and after the end of the capture, Zeek's timers stand still: it is for the
##! process that started Zeek to end it if nothing happens.

@load ./main
@load ./capture
@load ./publish

module MTC;

# Connections that owe a final record; at the end of the capture, in an order, and the next of them.
global open_flows: table[string] of connection;
global last_flows: vector of connection;
global next_flow = 0;

global at_end = F;
global flushing = F;

# Streams whose sensor was told that they have ended, and those that it has settled since.
global announced: set[count];
global settled: set[count];

# Who has subscribed to what over WebSocket, and topics of sensors that Zeek has disconnected because
# they did not answer: these can come back.
global clients: set[string, string];
global awaited: set[string];

# RFC 6455: "internal error", with which Zeek disconnects clients that do not answer pings.
const ping_timeout = 1011;

function suspend()
	{
	suspended = T;
	suspend_processing();
	}

function most_waiting(): count
	{
	local most = 0;

	for ( _, st in streams )
		if ( st$last - st$sent > most )
			most = st$last - st$sent;

	return most;
	}

function can_continue(): bool
	{
	for ( _, st in streams )
		if ( ! st$granted )
			return F;

	return most_waiting() <= max_queue / 2;
	}

function announce(st: Stream)
	{
	add announced[st$shard];
	Cluster::publish(status_topic(st$shard), MTC::exporter_drained, version, run, node,
	    st$shard, st$last);
	}

# Ends connections as far as there is room for their records.
function flush_flows()
	{
	flushing = T;

	while ( next_flow < |last_flows| && most_waiting() < max_queue )
		{
		finish(last_flows[next_flow]);
		++next_flow;
		}

	flushing = F;

	if ( complete || next_flow < |last_flows| )
		return;

	complete = T;

	for ( _, st in streams )
		advance(st);
	}

function all_sent(): bool
	{
	return next_flow == |last_flows| && most_waiting() == 0;
	}

hook progress(st: Stream)
	{
	if ( ! replaying || flushing )
		return;

	if ( at_end )
		flush_flows();
	else if ( ! suspended && st$last - st$sent >= max_queue )
		suspend();
	else if ( suspended && can_continue() )
		{
		suspended = F;
		continue_processing();
		}
	}

event MTC::grant(their_version: count, sensor: string, their_run: string, their_node: string,
    shard: count, acked: count, window: count) &priority=-5
	{
	if ( ! at_end || their_run != run || shard >= |streams| || ! all_sent() )
		return;

	local st = streams[shard];

	if ( shard in announced && st$acked == st$last )
		add settled[shard];
	else
		announce(st);

	if ( |settled| == |streams| )
		terminate();
	}

event Pcap::file_done(path: string)
	{
	if ( ! replaying || at_end )
		return;

	at_end = T;

	for ( _, c in open_flows )
		last_flows += c;

	flush_flows();

	if ( ! all_sent() )
		return;

	for ( _, st in streams )
		announce(st);
	}

hook owed(c: connection, is_owed: bool)
	{
	if ( ! replaying )
		return;

	if ( is_owed )
		open_flows[c$uid] = c;
	else
		delete open_flows[c$uid];
	}

# After publish.zeek has found out whether this is a replay.
event zeek_init() &priority=-5
	{
	if ( replaying )
		suspend();
	}

# A replay cannot go on without a sensor that has granted something.
function lose_sensor(st: Stream)
	{
	if ( ! replaying || zeek_is_terminating() || ! st$granted )
		return;

	Reporter::error(fmt("the sensor of shard %d has gone after sample %d of %d", st$shard,
	    st$acked, st$last));
	terminate();
	}

event Cluster::websocket_client_added(endpoint: Cluster::EndpointInfo, subscriptions: string_vec)
	{
	for ( _, topic in subscriptions )
		if ( starts_with(topic, "/zeek/mtc/sample/") )
			{
			add clients[endpoint$id, topic];
			delete awaited[topic];
			}
	}

event Cluster::websocket_client_lost(endpoint: Cluster::EndpointInfo, code: count, reason: string)
	{
	for ( _, st in streams )
		{
		local topic = sample_topic(st$shard);

		if ( [endpoint$id, topic] !in clients )
			next;

		delete clients[endpoint$id, topic];

		if ( code == ping_timeout )
			add awaited[topic];
		else
			lose_sensor(st);
		}
	}

@ifdef ( Cluster::Backend::ZeroMQ::unsubscription )
event Cluster::Backend::ZeroMQ::unsubscription(topic: string)
	{
	for ( _, st in streams )
		if ( topic == sample_topic(st$shard) && topic !in awaited )
			lose_sensor(st);
	}
@endif

@ifdef ( Broker::peer_lost )
# Outside a cluster who else would be a peer.
event Broker::peer_lost(endpoint: Broker::EndpointInfo, msg: string)
	{
	if ( Cluster::is_enabled() )
		return;

	for ( _, st in streams )
		lose_sensor(st);
	}
@endif
