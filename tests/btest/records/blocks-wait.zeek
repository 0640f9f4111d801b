# @TEST-DOC: Blocks that waited for the connection to have enough packets come before the one that ends with these.
# @TEST-EXEC: zeek -C -r $TRACES/slow.pcap $SCRIPTS/capture.zeek $DUMP %INPUT > output
# @TEST-EXEC: btest-diff output
