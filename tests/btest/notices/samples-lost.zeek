# @TEST-DOC: Live, without a sensor, the queue is filled, the rest is shed, counted and noticed.
# @TEST-EXEC: XPUB_PORT=$((20000 + $$ % 20000)) XSUB_PORT=$((40000 + $$ % 20000)) zeek -C --pseudo-realtime=100 -r $TRACES/flows.pcap $STANDALONE $SCRIPTS %INPUT > output
# @TEST-EXEC: zeek-cut note msg < notice.log | sed -E 's/[0-9]+ samples/N samples/' | sort -u > notices
# @TEST-EXEC: btest-diff output
# @TEST-EXEC: btest-diff notices

redef MTC::max_queue = 4;
redef MTC::status_interval = 0.5sec;
redef MTC::sensor_timeout = 0.3sec;

event zeek_done()
	{
	local st = MTC::streams[0];
	print st$last, st$sent, st$shed;
	}
