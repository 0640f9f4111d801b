##! A cluster of one process: Zeek with its own ZeroMQ proxy, on the ports of the environment.

@load frameworks/cluster/backend/zeromq

redef Cluster::Backend::ZeroMQ::run_proxy_thread = T;
redef Cluster::Backend::ZeroMQ::listen_xpub_endpoint = "tcp://127.0.0.1:" + getenv("XPUB_PORT");
redef Cluster::Backend::ZeroMQ::listen_xsub_endpoint = "tcp://127.0.0.1:" + getenv("XSUB_PORT");
redef Cluster::Backend::ZeroMQ::connect_xpub_endpoint = "tcp://127.0.0.1:" + getenv("XSUB_PORT");
redef Cluster::Backend::ZeroMQ::connect_xsub_endpoint = "tcp://127.0.0.1:" + getenv("XPUB_PORT");
