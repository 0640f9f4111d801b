# @TEST-DOC: A hook discards verdicts and amends them.
# @TEST-REQUIRES: peer-python
# @TEST-EXEC: with-peer -- -r $TRACES/flows.pcap %INPUT
# @TEST-EXEC: zeek-cut -m id.orig_h id.orig_p label malicious kind < mtc.log | sort > mtc
# @TEST-EXEC: btest-diff mtc
# @TEST-EXEC: test ! -e notice.log

hook MTC::policy(v: MTC::Verdict)
	{
	if ( v$kind != "final" )
		break;

	v$malicious = F;
	v$label = "tolerated";
	}
