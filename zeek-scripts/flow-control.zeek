##! What sensors say of streams: that they have come, how far they have got, and what is missing.

@load ./main
@load ./publish

module MTC;

function is_ours(theirs: count, their_run: string, their_node: string, shard: count): bool
	{
	if ( theirs == version && their_run == run && their_node == node && shard < |streams| )
		return T;

	++refused;
	return F;
	}

# Gives up what was published and is not acked: the sensor that got it has gone. No verdict on it is
# taken any more; what had one is not lost.
function give_up(st: Stream)
	{
	while ( st$acked < st$sent )
		{
		++st$acked;

		if ( |st$pending[st$acked]$models| == 0 )
			++st$lost;

		delete st$pending[st$acked];
		}
	}

# A sensor has come that knows nothing of what was published before, or has missed some of it. In a
# replay that is published again, live it is lost.
function begin_again(st: Stream)
	{
	if ( replaying )
		st$sent = st$acked;
	else
		give_up(st);

	st$limit = st$sent;
	st$heard = current_time();
	publish_status(st);
	}

event MTC::sensor_hello(their_version: count, sensor: string, their_shards: vector of count)
	{
	if ( their_version != version )
		{
		++refused;
		return;
		}

	local ours: set[count];

	for ( _, shard in their_shards )
		add ours[shard];

	for ( _, st in streams )
		{
		if ( st$shard in ours )
			begin_again(st);
		else if ( |ours| == 0 )
			publish_status(st);
		}
	}

event MTC::grant(their_version: count, sensor: string, their_run: string, their_node: string,
    shard: count, acked: count, window: count)
	{
	if ( ! is_ours(their_version, their_run, their_node, shard) )
		return;

	local st = streams[shard];

	if ( acked > st$highest || window > largest_window )
		{
		++refused;
		return;
		}

	st$heard = current_time();
	st$granted = T;

	while ( st$acked < acked )
		{
		++st$acked;
		hook answered(st$pending[st$acked]);
		delete st$pending[st$acked];
		}

	if ( st$acked > st$sent )
		st$sent = st$acked;

	st$limit = st$acked + window;
	advance(st);
	hook progress(st);
	}

event MTC::resend(their_version: count, sensor: string, their_run: string, their_node: string,
    shard: count, first: count, last: count)
	{
	if ( ! is_ours(their_version, their_run, their_node, shard) )
		return;

	local st = streams[shard];
	local seq = first > st$acked ? first : st$acked + 1;
	local end = last < st$highest ? last : st$highest;

	while ( seq <= end )
		seq = publish_batch(st, seq, end);
	}
