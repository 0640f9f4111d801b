##! What exporters do where the bus is ZeroMQ: to be loaded after its backend. Is loaded with the rest
##! of the package if that comes after the backend (zeekctl loads it later), and by
##! mtc-sensor/standalone.

@load ./publish

module MTC;

# A sensor that serves others already does not say hello to us if it is behind a WebSocket server,
# where it cannot see that we have come. Where this file is not loaded it waits for a heartbeat.
event Cluster::Backend::ZeroMQ::subscription(topic: string)
	{
	for ( _, st in streams )
		if ( topic == status_topic(st$shard) )
			publish_status(st);
	}
