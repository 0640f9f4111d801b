##! For comparison: an exporter in the style of zeek-flowmeter. It handles each packet in new_packet,
##! keeps every packet's size and time, and writes statistics of them when a connection ends.

module FlowmeterStyle;

export {
	redef enum Log::ID += { LOG };

	type Statistics: record {
		n: count &log;
		total: double &log;
		mean: double &log;
		std: double &log;
		least: double &log;
		most: double &log;
	};

	type Info: record {
		uid: string &log;
		duration: interval &log;
		orig_sizes: Statistics &log;
		resp_sizes: Statistics &log;
		orig_gaps: Statistics &log;
		resp_gaps: Statistics &log;
	};
}

type Packets: record {
	sizes: vector of double &default=vector();
	gaps: vector of double &default=vector();
	last: time &optional;
};

redef record connection += {
	orig_packets: Packets &optional;
	resp_packets: Packets &optional;
};

function statistics(values: vector of double): Statistics
	{
	if ( |values| == 0 )
		return Statistics($n=0, $total=0.0, $mean=0.0, $std=0.0, $least=0.0, $most=0.0);

	local total = 0.0;
	local squares = 0.0;
	local least = values[0];
	local most = values[0];

	for ( _, value in values )
		{
		total += value;
		squares += value * value;
		least = value < least ? value : least;
		most = value > most ? value : most;
		}

	local mean = total / |values|;
	local variance = squares / |values| - mean * mean;
	return Statistics($n=|values|, $total=total, $mean=mean,
	    $std=variance > 0.0 ? sqrt(variance) : 0.0, $least=least, $most=most);
	}

event new_connection(c: connection)
	{
	c$orig_packets = Packets();
	c$resp_packets = Packets();
	}

event new_packet(c: connection, p: pkt_hdr)
	{
	if ( ! c?$orig_packets )
		return;

	local is_orig = p?$ip ? p$ip$src == c$id$orig_h : p?$ip6 && p$ip6$src == c$id$orig_h;
	local packets = is_orig ? c$orig_packets : c$resp_packets;
	local now = network_time();
	packets$sizes += p?$ip ? p$ip$len : p?$ip6 ? p$ip6$len + 40 : 0;

	if ( packets?$last )
		packets$gaps += interval_to_double(now - packets$last);

	packets$last = now;
	}

event connection_state_remove(c: connection)
	{
	if ( ! c?$orig_packets )
		return;

	Log::write(LOG, Info($uid=c$uid, $duration=c$duration,
	    $orig_sizes=statistics(c$orig_packets$sizes), $resp_sizes=statistics(c$resp_packets$sizes),
	    $orig_gaps=statistics(c$orig_packets$gaps), $resp_gaps=statistics(c$resp_packets$gaps)));
	}

event zeek_init()
	{
	Log::create_stream(LOG, [$columns=Info, $path="flowmeter"]);
	}
