##! Machine-learning traffic classification by a sensor beside Zeek.

@load ./main
@load ./capture
@load ./publish
@load ./verdict
@load ./conn-log
@load ./replay
