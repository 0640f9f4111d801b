##! A manager, a logger, a proxy and two workers on this machine; see tests/zeek/cluster.py.

redef Cluster::manager_is_logger = F;

function port_of(name: string): port
	{
	return to_port(getenv(name + "_PORT") + "/tcp");
	}

redef Cluster::nodes = {
	["manager"] = [$node_type=Cluster::MANAGER, $ip=127.0.0.1, $p=port_of("MANAGER")],
	["logger"] = [$node_type=Cluster::LOGGER, $ip=127.0.0.1, $manager="manager",
	    $p=port_of("LOGGER")],
	["proxy"] = [$node_type=Cluster::PROXY, $ip=127.0.0.1, $manager="manager",
	    $p=port_of("PROXY")],
	["worker-1"] = [$node_type=Cluster::WORKER, $ip=127.0.0.1, $manager="manager",
	    $p=port_of("WORKER_1")],
	["worker-2"] = [$node_type=Cluster::WORKER, $ip=127.0.0.1, $manager="manager",
	    $p=port_of("WORKER_2")],
};
