# @TEST-DOC: What zeekctl runs without a bus, as "zeekctl process", does not wait for a sensor.
# @TEST-EXEC: ZEEKCTL_DISABLE_LISTEN=1 timeout 30 zeek -C -r $TRACES/flows.pcap $STANDALONE $SCRIPTS
# @TEST-EXEC: test 6 -eq $(zeek-cut uid < conn.log | wc -l)
# @TEST-EXEC: test ! -e reporter.log
