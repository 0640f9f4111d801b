##! Machine-learning traffic classification by a sensor beside Zeek.

@load ./main
@load ./capture
@load ./publish
@load ./flow-control
@load ./watch
@load ./verdict
@load ./conn-log
@load ./replay
@load ./metrics
