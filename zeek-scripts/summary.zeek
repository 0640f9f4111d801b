##! Writes to a file what a Zeek process has seen and made, for the process that started it.
##!
##! It is not loaded with the rest of the package.

@load base/frameworks/notice

@load ./main
@load ./verdict

module MTC;

export {
	## Where the summary goes, in JSON.
	const summary_file = "mtc-summary.json" &redef;

	## What is in the summary.
	type Summary: record {
		packets: count &default=0;
		bytes: count &default=0;
		flows: count &default=0;
		early: count &default=0;
		block: count &default=0;
		final: count &default=0;
		notices: count &default=0;
		suppressed: count &default=0;
	};
}

global summary = Summary();

hook sampled(c: connection, r: Record) &priority=-20
	{
	if ( r$kind == EARLY )
		++summary$early;
	else if ( r$kind == BLOCK )
		++summary$block;
	else
		++summary$final;
	}

event Notice::log_notice(n: Notice::Info)
	{
	if ( n$note == Malicious_Flow )
		++summary$notices;
	}

event Notice::suppressed(n: Notice::Info)
	{
	if ( n$note == Malicious_Flow )
		++summary$suppressed;
	}

event zeek_done() &priority=-100
	{
	local net = get_net_stats();
	local conns = get_conn_stats();
	summary$packets = net$pkts_recvd;
	summary$bytes = net$bytes_recvd;
	summary$flows = conns$total_conns;
	local f = open(summary_file);
	write_file(f, to_json(summary));
	close(f);
	}
