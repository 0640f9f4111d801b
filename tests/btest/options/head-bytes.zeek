# @TEST-DOC: No packet bytes leave Zeek.
# @TEST-EXEC: zeek -C -r $TRACES/flows.pcap $SCRIPTS/capture.zeek  $DUMP %INPUT > output
# @TEST-EXEC: btest-diff output

redef MTC::head_bytes = 0;
