# @TEST-DOC: What is payload of a TCP packet: with options that are longer than before, sent again, after a gap.
# @TEST-EXEC: zeek -C -r $TRACES/stream.pcap $SCRIPTS/capture.zeek $DUMP %INPUT > output
# @TEST-EXEC: btest-diff output
