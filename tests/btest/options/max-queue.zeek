# @TEST-DOC: In a replay the queue is bounded by waiting, with nothing shed; the sensor's window is small.
# @TEST-REQUIRES: peer-python
# @TEST-EXEC: with-peer --window 3 -- -r $REPOSITORY/samples/demo.pcap MTC::max_queue=5 %INPUT > output
# @TEST-EXEC: cat peer.out >> output
# @TEST-EXEC: btest-diff output

global most = 0;

hook MTC::sampled(c: connection, r: MTC::Record) &priority=-20
	{
	local st = MTC::streams[0];
	most = st$last - st$sent > most ? st$last - st$sent : most;
	}

event zeek_done()
	{
	print most < 100;
	}
