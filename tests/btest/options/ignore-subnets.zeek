# @TEST-DOC: Connections of a subnet are left out.
# @TEST-EXEC: zeek -C -r $TRACES/flows.pcap $SCRIPTS/capture.zeek  $DUMP %INPUT > output
# @TEST-EXEC: btest-diff output

redef MTC::ignore_subnets += { 10.0.0.0/31 };
