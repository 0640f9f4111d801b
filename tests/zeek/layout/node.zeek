##! A node of the cluster of tests/zeek/cluster.py. At its end it prints what became of its streams.

@if ( getenv("BACKEND") == "broker" )
@load frameworks/cluster/backend/broker

redef Broker::default_listen_address = "127.0.0.1";
@else
@load frameworks/cluster/backend/zeromq

redef Cluster::Backend::ZeroMQ::listen_xpub_endpoint = "tcp://127.0.0.1:" + getenv("XPUB_PORT");
redef Cluster::Backend::ZeroMQ::listen_xsub_endpoint = "tcp://127.0.0.1:" + getenv("XSUB_PORT");
redef Cluster::Backend::ZeroMQ::connect_xpub_endpoint = "tcp://127.0.0.1:" + getenv("XSUB_PORT");
redef Cluster::Backend::ZeroMQ::connect_xsub_endpoint = "tcp://127.0.0.1:" + getenv("XPUB_PORT");
@endif

@load mtc-sensor

# Logs keep their names.
redef Log::default_rotation_interval = 0secs;

event zeek_init()
	{
	if ( Cluster::local_node_type() == Cluster::MANAGER )
		Cluster::listen_websocket(Cluster::WebSocketServerOptions($listen_addr=127.0.0.1,
		    $listen_port=to_port(getenv("WEBSOCKET_PORT") + "/tcp")));
	}

event zeek_done() &priority=-100
	{
	for ( _, st in MTC::streams )
		print to_json([$shard=st$shard, $last=st$last, $acked=st$acked, $shed=st$shed,
		    $lost=st$lost]);
	}
