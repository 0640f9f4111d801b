##! Machine-learning traffic classification by a sensor beside Zeek.

@load ./main
@load ./capture
@load ./tls
@load ./publish
@load ./verdict
@load ./conn-log
@load ./replay
