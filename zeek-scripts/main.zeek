##! What the scripts of mtc-sensor share: records, the events that cross the cluster's bus, and the
##! hooks through which other scripts take part.
##!
##! The sensor is a process beside Zeek. It receives samples of connections, several models judge
##! them, and its verdicts come back as events. Only plain values cross the bus.

@load base/frameworks/cluster
@load base/protocols/conn/thresholds

module MTC;

export {
	## Connections with fewer packets give no record. From 1 to 8.
	option min_packets: count = 4;

	## Whether packets after the first eight are sampled and long connections cut into blocks.
	## Models of sizes and times (FlowPic) need them; models of first bytes do not.
	##
	## Zeek raises an event for each of these packets. To save that too, say so before the rest of
	## the package is loaded::
	##
	##     @load mtc-sensor/main
	##     redef MTC::blocks = F;
	##     @load mtc-sensor
	option blocks: bool = T;

	## How many packets of a block, or of a final record, are sampled; at least 8. With bulk traffic
	## this decides what Zeek spends here. Packets after a connection's first *max_samples*, as it
	## was when the package was loaded, cost a little more each.
	option max_samples: count = 500;

	## The length of a block, from the connection's first packet on.
	option block_interval: interval = 60sec;

	## How many bytes of each of the first eight packets are sampled, from the link layer on, and
	## those that tunnels have put before the packet besides; with 0 no packet bytes leave Zeek.
	option head_bytes: count = 160;

	## The share of connections that are sampled, from 0 to 1.
	option sampling_rate: double = 1.0;

	## Connections from or to these subnets are not sampled.
	option ignore_subnets: set[subnet] = {};

	## Connections to these ports are not sampled.
	option ignore_ports: set[port] = {};

	## How many connections may be sampled at a time; others are counted as
	## ``zeek_mtc_unsampled_connections_total``.
	option max_connections: count = 200000;

	## How many connections may be followed beyond their first eight packets at a time; each holds
	## at most *max_samples*, of 32 bytes. Of others the final record has the first eight.
	option max_followed: count = 20000;

	## The version of the events below; others are counted and passed over.
	const version = 1;

	## Packets of a connection whose first bytes are sampled; the early record has as many samples.
	const head_packets = 8;

	## Why a record was made.
	type Kind: enum {
		## The connection's first packets, as soon as there are :zeek:see:`MTC::head_packets`.
		EARLY,
		## One :zeek:see:`MTC::block_interval` of a connection that goes on.
		BLOCK,
		## What was left when the connection ended.
		FINAL,
	};

	## Packets of a connection, as its counters tell of them: the sensor subtracts.
	type Packets: record {
		## When each came.
		times: vector of time;
		## What the connection had carried before the first of them, and after each. One count
		## is the sum of three: the bytes of the originator's IP packets, 2^17 times those of the
		## responder's, and 2^34 times the bytes of both endpoints' *size*; what is more than 64
		## bits is cut off.
		counters: vector of count;
	};

	## What is sampled of a connection. All its packets but the first eight are known by direction,
	## size and time only.
	type Record: record {
		kind: Kind;
		uid: string;
		orig_h: addr;
		orig_p: port;
		resp_h: addr;
		resp_p: port;
		## When the record's first packet came; published are *packets*, of which that is the first.
		start: time;
		packets: Packets;
		## The first bytes of the connection's first packets, from the link layer on. Only the
		## first of a connection's records has them.
		head: vector of string &default=vector();
		## Words that describe the connection, separated by spaces.
		tokens: string &default="";
	};

	## Decides whether a connection is sampled; called with its second packet (with *min_packets* of
	## 1, its first). Break to leave it out.
	##
	## c: The connection, of which nothing but addresses and ports is known yet.
	global sample_policy: hook(c: connection);

	## Called with each record before it is published. Handlers may amend it; break to discard it.
	##
	## c: The connection.
	##
	## r: The record.
	global sampled: hook(c: connection, r: Record);

	## Records of connections, numbered from *seq* on; from exporters to the sensor of a shard.
	##
	## records: Each a line of nine parts with ``|`` between them::
	##
	##              kind|uid|orig_h|orig_p|resp_h|resp_p|heads|packets|tokens
	##
	##          *kind* is a number; addresses and ports are as Zeek prints them. *heads* are in
	##          Base64, with commas between them; a single empty one is the same as none. *packets*
	##          are :zeek:see:`MTC::Packets` in JSON, of which the first time is the record's start.
	##          *tokens* may hold ``|``. It is one value on the wire: a record, or a vector, has one
	##          for each of its fields, and Zeek converts each several times.
	global sample_batch: event(version: count, run: string, node: string, shard: count, seq: count,
	    link: count, records: vector of string);

	## What a model says of a record, as it crosses the bus: all else of the record is known here.
	## What the sensor leaves out has a value for which the opinion is passed over.
	type Opinion: record {
		## The record's number in the stream.
		seq: count &default=0;
		uid: string &default="";
		kind: count &default=0;
		model: string &default="";
		label: string &default="";
		score: double &default=-1.0;
		## 1 malicious, 2 unknown.
		flags: count &default=0;
		detail: string &default="";
	};

	## Opinions on the records of a stream; from a sensor to the exporter that made them.
	global verdict_batch: event(version: count, sensor: string, run: string, node: string,
	    shard: count, verdicts: vector of Opinion);

	## A sensor has come (back); from it to exporters. One without shards asks where streams stand.
	global sensor_hello: event(version: count, sensor: string, shards: vector of count);

	## All up to *acked* has arrived and *window* more may follow; from a sensor to one exporter.
	global grant: event(version: count, sensor: string, run: string, node: string, shard: count,
	    acked: count, window: count);

	## Samples are missing; from a sensor to one exporter.
	global resend: event(version: count, sensor: string, run: string, node: string, shard: count,
	    first: count, last: count);

	## Where a stream stands; from exporters to sensors.
	global exporter_status: event(version: count, run: string, node: string, shard: count,
	    first_unacked: count, last_seq: count, shed: count);

	## A stream has ended; from exporters to sensors.
	global exporter_drained: event(version: count, run: string, node: string, shard: count,
	    last_seq: count);
}
