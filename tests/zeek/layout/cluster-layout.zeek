##! A manager, a logger, a proxy and two workers on this machine; see tests/zeek/cluster.py.

redef Cluster::manager_is_logger = F;

redef Cluster::nodes = {
	["manager"] = [$node_type=Cluster::MANAGER, $ip=127.0.0.1],
	["logger"] = [$node_type=Cluster::LOGGER, $ip=127.0.0.1, $manager="manager",
	    $p=to_port(getenv("LOG_PORT") + "/tcp")],
	["proxy"] = [$node_type=Cluster::PROXY, $ip=127.0.0.1, $manager="manager"],
	["worker-1"] = [$node_type=Cluster::WORKER, $ip=127.0.0.1, $manager="manager"],
	["worker-2"] = [$node_type=Cluster::WORKER, $ip=127.0.0.1, $manager="manager"],
};
