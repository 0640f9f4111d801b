# @TEST-DOC: Two shards, each record in the one of its uid; both streams end.
# @TEST-REQUIRES: peer-python
# @TEST-EXEC: with-peer --shard 0 --shard 1 --streams 2 -- -r $REPOSITORY/samples/demo.pcap MTC::shards=2 %INPUT > output
# @TEST-EXEC: cat peer.out >> output
# @TEST-EXEC: btest-diff output

event zeek_done()
	{
	for ( _, st in MTC::streams )
		print st$shard, st$last > 0, st$last == st$acked;
	}
