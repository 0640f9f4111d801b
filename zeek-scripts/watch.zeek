##! Says, live, where streams stand, and raises notices of sensors that are silent and samples that
##! were not judged.

@load base/frameworks/notice

@load ./main
@load ./publish

module MTC;

export {
	## How often, live, exporters say where their streams stand.
	option status_interval: interval = 5sec;

	## After which silence a sensor counts as down.
	option sensor_timeout: interval = 30sec;

	redef enum Notice::Type += {
		## The sensor of a shard has been silent for :zeek:see:`MTC::sensor_timeout`.
		Sensor_Down,
		## Samples were shed, because the sensor was too slow, or lost on the way to it.
		Samples_Lost,
	};
}

function check_sensor(st: Stream)
	{
	local silent = current_time() - st$heard > sensor_timeout;

	if ( silent && ! st$down )
		NOTICE([$note=Sensor_Down, $msg=fmt("the sensor of shard %d is silent", st$shard),
		    $sub=fmt("%d samples wait, %d are on their way", st$last - st$sent,
		    st$sent - st$acked), $identifier=cat(st$shard)]);

	st$down = silent;
	}

function check_losses(st: Stream)
	{
	local gone = st$shed + st$lost;

	if ( gone == st$reported )
		return;

	NOTICE([$note=Samples_Lost, $n=gone - st$reported, $msg=fmt(
	    "%d samples of shard %d were not judged", gone - st$reported, st$shard),
	    $sub=fmt("%d shed and %d lost since the start", st$shed, st$lost),
	    $identifier=cat(node, "-", st$shard)]);
	st$reported = gone;
	}

event heartbeat()
	{
	for ( _, st in streams )
		{
		check_sensor(st);
		check_losses(st);

		# What a sensor does not read piles up on the bus; one that comes back is heard first.
		if ( ! st$down )
			publish_status(st);
		}

	schedule status_interval { heartbeat() };
	}

# After publish.zeek has made the streams and found out whether this is a replay.
event zeek_init() &priority=-5
	{
	if ( |streams| > 0 && ! replaying )
		schedule status_interval { heartbeat() };
	}
