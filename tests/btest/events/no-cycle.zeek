# @TEST-DOC: A connection that was judged does not hold itself: it can be printed, and is freed.
# @TEST-REQUIRES: peer-python
# @TEST-EXEC: with-peer -- -r $TRACES/flows.pcap %INPUT > output
# @TEST-EXEC: test 5 -le $(grep -c printed output)

# After all that keep something of the verdict.
hook MTC::policy(v: MTC::Verdict) &priority=-1000
	{
	if ( v$c$uid in cat(v$c) )
		print "printed";
	}
