##! Publishes records on the cluster's bus, and answers for each of them.
##!
##! A stream is what one process publishes for one shard. Its sequence numbers have no gaps, and it
##! goes no further than the sensor has granted. What waits is bounded: live, records that find the
##! queue full are shed and counted; in a replay, packet processing waits.

@load ./main
@load ./capture

module MTC;

export {
	## Into how many shards connections are divided; each needs a sensor. The same on all nodes.
	const shards = 1 &redef;

	## The unique name of this process. Sequence numbers begin again with it.
	const run = fmt("%s-%d", unique_id("R"), getpid());

	## The name of this node; that of a process outside a cluster is "zeek".
	const node = Cluster::is_enabled() ? Cluster::node : "zeek";

	## How many records of a shard may wait for the sensor.
	option max_queue: count = 2000;

	## A record that was given to a stream.
	type Pending: record {
		r: Record;
		c: connection;
		## When, by the wall clock.
		made: time;
		## The models of which a verdict came; few, so a set would cost more.
		models: vector of string &default=vector();
	};

	## What becomes of a shard's records.
	type Stream: record {
		shard: count;
		## Records by number that are not acked.
		pending: table[count] of Pending;
		## All up to *acked* is settled, up to *sent* published, up to *last* waits for that.
		acked: count &default=0;
		sent: count &default=0;
		last: count &default=0;
		## The highest number that was ever published, and the highest that may be.
		highest: count &default=0;
		limit: count &default=0;
		## Records that were given up before they had a number, and after.
		shed: count &default=0;
		lost: count &default=0;
		## Of these, how many have been reported.
		reported: count &default=0;
		## When the sensor was heard last, by the wall clock; whether it has ever granted anything.
		heard: time;
		granted: bool &default=F;
		down: bool &default=F;
	};

	## This node's streams, one for each shard; none where nothing is published.
	global streams: vector of Stream;
}

# Whether records that find no room wait, together with the packets that come after them.
global replaying = F;

# Whether packets wait.
global suspended = F;

# Whether no record comes after those that wait.
global complete = F;

# Events from the bus that were passed over.
global refused = 0;

# Called when a stream can go on, or has to wait.
global progress: hook(st: Stream);

# Called with each record that is acked: its verdicts have come, or never will.
global answered: hook(p: Pending);

# The capture's link type, as in pcap files; there it is not known any more at their end.
global link_type = 0;

# How many records are published together at most, and how long the message may be, in JSON: the
# sensor takes a mebibyte.
const batch_records = 32;
const batch_bytes = 500000;

const largest_window = 65536;

function encoded(head: vector of string): vector of string
	{
	local result: vector of string;

	for ( _, bytes in head )
		result += encode_base64(bytes);

	return result;
	}

function sample_topic(shard: count): string
	{
	return fmt("/zeek/mtc/sample/%d/", shard);
	}

# Not one for all sensors: what one that has stopped does not read piles up on the bus.
function status_topic(shard: count): string
	{
	return fmt("/zeek/mtc/sensors/%d/", shard);
	}

# As MTC::sample_batch says; its text can hold bars, so it comes last.
function to_line(r: Record): string
	{
	return cat_sep("|", "", enum_to_int(r$kind), r$uid, r$orig_h, r$orig_p, r$resp_h, r$resp_p,
	    join_string_vec(encoded(r$head), ","), to_json(r$packets), r$tokens);
	}

# Publishes as many of the records *first* to *last* as go into one event; returns the next number.
function publish_batch(st: Stream, first: count, last: count): count
	{
	local records: vector of string;
	local bytes = 0;
	local seq = first;

	while ( seq <= last && |records| < batch_records && bytes < batch_bytes )
		{
		local r = st$pending[seq]$r;
		records += to_line(r);
		bytes += 39 * |r$packets$times| + 2 * head_bytes * |r$head| + |r$tokens|;
		++seq;
		}

	Cluster::publish(sample_topic(st$shard), MTC::sample_batch, version, run, node, st$shard, first,
	    link_type, records);
	return seq;
	}

function publish_status(st: Stream)
	{
	Cluster::publish(status_topic(st$shard), MTC::exporter_status, version, run, node,
	    st$shard, st$acked + 1, st$highest, st$shed);
	}

# Whether waiting records up to *last* go out. A message costs much more than a record: as long as
# some are on their way, others wait until these have been settled or there are enough of them; in a
# replay, where nobody waits for verdicts, until there are enough as long as packets come.
function is_enough(st: Stream, last: count): bool
	{
	local waiting = last - st$sent;

	if ( complete || waiting >= batch_records || waiting >= max_queue )
		return T;

	return st$sent == st$acked && ( ! replaying || suspended || st$limit < st$last );
	}

# Publishes what may be.
function advance(st: Stream)
	{
	local last = st$limit < st$last ? st$limit : st$last;

	while ( st$sent < last && is_enough(st, last) )
		st$sent = publish_batch(st, st$sent + 1, last) - 1;

	if ( st$sent > st$highest )
		st$highest = st$sent;
	}

hook sampled(c: connection, r: Record) &priority=-10
	{
	if ( |streams| == 0 )
		return;

	if ( link_type == 0 )
		link_type = int_to_count(packet_source()$link_type);

	local st = streams[fnv1a32(r$uid) % shards];

	if ( st$last - st$sent >= max_queue && ! replaying )
		{
		++st$shed;
		return;
		}

	++st$last;
	st$pending[st$last] = Pending($r=r, $c=c, $made=current_time());
	advance(st);
	hook progress(st);
	}

@ifdef ( Cluster::Backend::ZeroMQ::subscription )
@load ./zeromq
@endif

event zeek_init()
	{
	local is_exporter = ! Cluster::is_enabled() || Cluster::local_node_type() == Cluster::WORKER;

	# With this variable zeekctl checks scripts or reads a capture (zeekctl process): a worker alone,
	# that its backend keeps off the bus, and that would wait for a sensor forever.
	if ( ! is_exporter || getenv("ZEEKCTL_DISABLE_LISTEN") != "" )
		return;

	if ( Cluster::backend == Cluster::CLUSTER_BACKEND_NONE )
		{
		if ( reading_live_traffic() )
			Reporter::warning("mtc-sensor: there is no cluster backend, so nothing is published "
			    + "and no sensor can be heard: @load mtc-sensor/standalone, or a backend such as "
			    + "frameworks/cluster/backend/zeromq");

		return;
		}

	while ( |streams| < shards )
		streams += Stream($shard=|streams|, $pending=table(), $heard=current_time());

	Cluster::subscribe("/zeek/mtc/exporters/");
	Cluster::subscribe(fmt("/zeek/mtc/exporter/%s/", node));
	Cluster::subscribe(fmt("/zeek/mtc/verdict/%s/", node));
	replaying = reading_traces() && ! reading_live_traffic();
	}
