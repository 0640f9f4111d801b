##! For a Zeek outside a cluster, whose events go nowhere by default: gives it a bus on the loopback
##! interface, where a cluster would have it. Sensors reach it by ZeroMQ or by WebSocket.
##!
##! It is not loaded with the rest of the package::
##!
##!     @load mtc-sensor
##!     @load mtc-sensor/standalone

@load frameworks/cluster/backend/zeromq

@load ./zeromq

redef Cluster::Backend::ZeroMQ::run_proxy_thread = T;

# On a bus Zeek would publish every line of every log, for loggers that there are none of.
redef Log::enable_remote_logging = F;

module MTC;

export {
	## Where WebSocket clients are served.
	const websocket_address = 127.0.0.1 &redef;

	## The port of that; 0/tcp serves none.
	const websocket_port = 27759/tcp &redef;
}

event zeek_init()
	{
	if ( websocket_port != 0/tcp )
		Cluster::listen_websocket(Cluster::WebSocketServerOptions(
		    $listen_addr=websocket_address, $listen_port=websocket_port));
	}
