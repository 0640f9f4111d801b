# @TEST-DOC: Counters in Zeek's telemetry, under the names that they are scraped by.
# @TEST-REQUIRES: peer-python
# @TEST-EXEC: with-peer -- -r $TRACES/flows.pcap MTC::max_connections=3 %INPUT > output
# @TEST-EXEC: btest-diff output

event zeek_done()
	{
	local lines: vector of string;

	for ( _, m in Telemetry::collect_metrics("zeek", "mtc_*") )
		lines += fmt("%s{%s} %.0f", m$opts$name, join_string_vec(m$label_values, ","), m$value);

	sort(lines, strcmp);

	for ( _, line in lines )
		print line;
	}
