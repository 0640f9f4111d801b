##! Publishes what the fixtures of this folder hold; run by record.py, see README.md.

@load frameworks/cluster/backend/zeromq

redef Cluster::Backend::ZeroMQ::run_proxy_thread = T;
redef exit_only_after_terminate = T;

module MTC;

export {
	type Packets: record {
		times: vector of time;
		counters: vector of count;
	};
	type Opinion: record {
		seq: count;
		uid: string;
		kind: count;
		model: string;
		label: string;
		score: double;
		flags: count;
		detail: string;
	};
	global verdict_batch: event(version: count, sensor: string, run: string, node: string,
	    shard: count, verdicts: vector of Opinion);
	global sample_batch: event(version: count, run: string, node: string, shard: count, seq: count,
	    link: count, records: vector of string);
	global exporter_status: event(version: count, run: string, node: string, shard: count,
	    first_unacked: count, last_seq: count, shed: count);
	global exporter_drained: event(version: count, run: string, node: string, shard: count,
	    last_seq: count);
}

module Wire;

export {
	type Color: enum { RED, GREEN };
	type Part: record {
		number: count;
		absent: string &optional;
	};

	## One argument of each of Zeek's types.
	global types: event(b: bool, c: count, i: int, r: double, s: string, a4: addr, a6: addr,
	    n4: subnet, n6: subnet, tcp: port, udp: port, icmp: port, other: port, t: time,
	    iv: interval, e: Color, numbers: set[count], pairs: set[count, string],
	    named: table[string] of count, counts: vector of count, none: vector of count, part: Part);
	## Every byte; not for WebSocket clients, which it would disconnect.
	global bytes: event(s: string);
	## Every ASCII character.
	global ascii: event(s: string);
	## Asks for everything to be published.
	global go: event();
	## The end of it.
	global done: event();
}

global out = "/wire/out/";

function all_bytes(last: count): string
	{
	local s = "";
	local n = 0;
	while ( n <= last )
		{
		s += unescape_URI(fmt("%%%02x", n));
		++n;
		}
	return s;
	}

event go()
	{
	Cluster::publish(out, types, T, 18446744073709551615, -7, -0.33, "TEST \"\\\n", 192.168.99.9,
	    [2001:db8::1], 10.0.0.0/8, [2001:db8::]/32, 80/tcp, 53/udp, 8/icmp, 0/unknown,
	    double_to_time(1700000000.123456), -1.5sec, Wire::GREEN, set(1, 2), set([3, "x"]),
	    table(["a"] = 1), vector(1, 2, 9223372036854775808), vector(), Part($number=5));
	Cluster::publish(out, ascii, all_bytes(127));
	Cluster::publish("/wire/bytes/", bytes, all_bytes(255));
	# As to_line() in publish.zeek.
	local first = cat_sep("|", "", 0, "CHhAvVGS1DHFjwGM9", 10.0.0.1, 49152/tcp, 192.0.2.7, 443/tcp,
	    join_string_vec(vector(encode_base64(all_bytes(255)), encode_base64("")), ","),
	    to_json(MTC::Packets($times=vector(double_to_time(1700000000.123456),
	    double_to_time(1700000000.125), double_to_time(1700009999.0)),
	    $counters=vector(0, 40, 24876647186472, 1227476665106472))), "TLSv12 h2|a b");
	local second = cat_sep("|", "", 2, "C9", [2001:db8::1], 128/icmp, [::192.0.2.1], 129/icmp,
	    join_string_vec(vector(), ","), to_json(MTC::Packets($times=vector(), $counters=vector(7))),
	    "");
	Cluster::publish(out, MTC::sample_batch, 1, "6f1c", "worker-1", 0, 1, 1, vector(first, second));
	local malicious = MTC::Opinion($seq=1, $uid="CHhAvVGS1DHFjwGM9",
	    $kind=0, $model="byte-cnn", $label="Neris", $score=0.875, $flags=1, $detail="a=0.5");
	local unknown = MTC::Opinion($seq=2, $uid="C9", $kind=2, $model="flowpic",
	    $label="unknown", $score=0.25, $flags=2, $detail="");
	Cluster::publish(out, MTC::verdict_batch, 1, "s1", "6f1c", "worker-1", 0,
	    vector(malicious, unknown));
	Cluster::publish(out, MTC::exporter_status, 1, "6f1c", "worker-1", 0, 1, 41, 3);
	Cluster::publish(out, MTC::exporter_drained, 1, "6f1c", "worker-1", 0, 41);
	Cluster::publish(out, done);
	}

event zeek_init()
	{
	Cluster::subscribe("/wire/in/");
	Cluster::listen_websocket([$listen_addr=127.0.0.1, $listen_port=27759/tcp]);
	}
