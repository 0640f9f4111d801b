# @TEST-DOC: Early, blocks and finals, in a tunnel, and of a connection whose roles flip.
# @TEST-EXEC: zeek -C -r $TRACES/flows.pcap $SCRIPTS/capture.zeek  $DUMP %INPUT > output
# @TEST-EXEC: btest-diff output
