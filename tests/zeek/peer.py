"""A sensor that judges without a model: what the btests and the end-to-end tests talk to.

It grants, acknowledges and answers every record with one verdict per model, over the cluster's
ZeroMQ sockets, until the exporter says that its stream has ended. It counts everything and prints
one JSON object at the end.
"""

# mypy: disable-error-code="import-not-found,no-any-return"

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import zmq

from mtc_sensor.errors import WireError
from mtc_sensor.flow import address_texts
from mtc_sensor.wire import broker_bin, topics
from mtc_sensor.wire.events import (
    ExporterDrained,
    ExporterStatus,
    Grant,
    MtcEvent,
    SensorHello,
    Verdict,
    VerdictBatch,
    decode,
    encode,
)
from mtc_sensor.wire.records import Records

MALICIOUS, UNKNOWN = 1, 2


@dataclass
class Stream:
    """What came of one exporter's stream."""

    run: str
    node: str
    shard: int
    acked: int = 0
    seen: set[int] = field(default_factory=set)
    granted: tuple[int, int] = (0, 0)
    granted_at: float = 0.0
    ends: int | None = None


class Bus:
    """ZeroMQ sockets of Zeek's cluster."""

    def __init__(self, xpub: int, xsub: int, shards: list[int]) -> None:
        self.context = zmq.Context()
        self.receiver = self.context.socket(zmq.SUB)
        self.sender = self.context.socket(zmq.XPUB)
        self.receiver.connect(f"tcp://127.0.0.1:{xpub}")
        self.sender.connect(f"tcp://127.0.0.1:{xsub}")
        for topic in [*map(topics.samples_of, shards), *map(topics.statuses_of, shards)]:
            self.receiver.subscribe(topic)
        self.poller = zmq.Poller()
        self.poller.register(self.receiver, zmq.POLLIN)
        self.poller.register(self.sender, zmq.POLLIN)

    def send(self, topic: str, event: MtcEvent) -> None:
        payload = broker_bin.encode_event(encode(event))
        self.send_raw(topic, payload)

    def send_raw(self, topic: str, payload: bytes) -> None:
        self.sender.send_multipart([topic.encode(), b"peer", b"broker-bin-v1", payload])

    def receive(self, wait_s: float) -> tuple[list[str], list[bytes]]:
        """Return subscriptions and payloads that have come."""
        ready = dict(self.poller.poll(int(wait_s * 1000)))
        subscriptions: list[str] = []
        payloads: list[bytes] = []
        while self.sender in ready and self.sender.poll(0):
            message = self.sender.recv()
            if message[:1] == b"\x01":
                subscriptions.append(message[1:].decode())
        while self.receiver in ready and self.receiver.poll(0) and len(payloads) < 200:
            payloads.append(self.receiver.recv_multipart()[3])
        return subscriptions, payloads

    def close(self) -> None:
        self.context.destroy(linger=1000)


class Peer:
    """The conversation."""

    def __init__(self, bus: Bus, options: argparse.Namespace) -> None:
        self.bus = bus
        self.options = options
        self.streams: dict[tuple[str, str, int], Stream] = {}
        self.counts: Counter[str] = Counter()
        self.records: list[dict[str, Any]] = []
        self.hello_at = 0.0

    def run(self) -> None:
        until = time.monotonic() + self.options.seconds
        while time.monotonic() < until and not self.done():
            subscriptions, payloads = self.bus.receive(0.1)
            if any(topic.startswith("/zeek/mtc/exporter") for topic in subscriptions):
                self.hello_at = 0.0
            for payload in payloads:
                self.take(payload)
            self.answer()

    def done(self) -> bool:
        ended = [stream for stream in self.streams.values() if stream.ends is not None]
        return len(ended) >= self.options.streams and all(s.acked >= (s.ends or 0) for s in ended)

    def take(self, payload: bytes) -> None:
        try:
            event = decode(broker_bin.decode_event(payload))
        except WireError as error:
            self.counts[f"error: {error}"] += 1
            return
        if isinstance(event, Records):
            stream = self.streams.setdefault(event.stream, Stream(*event.stream))
            for row, seq in enumerate(event.seq.tolist()):
                self.judge(stream, event, row, seq)
            return
        if not isinstance(event, ExporterStatus | ExporterDrained):
            return
        key = (event.run, event.node, event.shard)
        if isinstance(event, ExporterStatus):
            base = event.first_unacked - 1
            self.streams.setdefault(key, Stream(*key, acked=base))
            self.counts["shed"] = event.shed
            return
        self.streams.setdefault(key, Stream(*key)).ends = event.last_seq

    def judge(self, stream: Stream, records: Records, row: int, seq: int) -> None:
        self.counts["samples"] += 1
        if seq <= stream.acked or seq in stream.seen:
            self.counts["duplicates"] += 1
            return
        stream.seen.add(seq)
        while stream.acked + 1 in stream.seen:
            stream.acked += 1
            stream.seen.remove(stream.acked)
        self.counts[("early", "block", "final")[records.kind[row]]] += 1
        if self.options.records:
            self.records.append(describe(records, row))
        verdicts = tuple(self.verdict(records, row, model) for model in self.options.model)
        self.bus.send(topics.verdicts_for(stream.node), VerdictBatch(verdicts))
        self.counts["verdicts"] += len(verdicts)
        if self.counts["samples"] == self.options.die_after:
            os._exit(9)

    def verdict(self, records: Records, row: int, model: str) -> Verdict:
        (identity,) = records.identities([row])
        options = self.options
        said = (options.label, options.score, options.flags, "benign=0.125 malice=0.875")
        return Verdict("peer", *identity, model, *said)

    def answer(self) -> None:
        now = time.monotonic()
        if not self.streams and now - self.hello_at > 1:
            self.hello_at = now
            shards = np.array(self.options.shard, np.uint64)
            self.bus.send(topics.TO_EXPORTERS, SensorHello("peer", shards))
        for stream in self.streams.values():
            grant = (stream.acked, self.options.window)
            if grant != stream.granted or now - stream.granted_at > 1:
                stream.granted, stream.granted_at = grant, now
                place = (stream.run, stream.node, stream.shard)
                self.bus.send(topics.exporter(stream.node), Grant("peer", *place, *grant))


def describe(records: Records, row: int) -> dict[str, Any]:
    only = records.take([row])
    ends = only.head_ends.tolist()
    (orig_h,), (resp_h,) = address_texts(only.orig_h), address_texts(only.resp_h)
    return {
        "kind": int(only.kind[0]),
        "orig_h": orig_h,
        "orig_p": int(only.orig_p[0]),
        "resp_h": resp_h,
        "resp_p": int(only.resp_p[0]),
        "start_us": int(only.start_us[0]),
        "samples": only.samples.tolist(),
        "link": int(only.link[0]),
        "head": [only.head[begin:end].tobytes().hex() for begin, end in pairwise(ends)],
        "tokens": only.tokens.tobytes().decode(),
    }


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--xpub", type=int, default=5555)
    parser.add_argument("--xsub", type=int, default=5556)
    parser.add_argument("--shard", type=int, action="append")
    parser.add_argument("--streams", type=int, default=1, help="how many streams to see the end of")
    parser.add_argument("--window", type=int, default=400)
    parser.add_argument("--model", action="append")
    parser.add_argument("--label", default="Neris")
    parser.add_argument("--score", type=float, default=0.875)
    parser.add_argument("--flags", type=int, default=MALICIOUS)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--die-after", type=int, default=0)
    parser.add_argument("--records", help="a file for the records, JSON lines")
    options = parser.parse_args(arguments)
    options.shard = options.shard or [0]
    options.model = options.model or ["byte-cnn"]
    return options


def main() -> int:
    options = parse(sys.argv[1:])
    bus = Bus(options.xpub, options.xsub, options.shard)
    peer = Peer(bus, options)
    peer.run()
    for _ in range(3):  # the last grant ends the replay; one may be lost
        peer.answer()
        time.sleep(0.1)
    bus.close()
    if options.records:
        with open(options.records, "w") as out:  # noqa: PTH123
            out.writelines(json.dumps(record) + "\n" for record in peer.records)
    print(json.dumps(dict(peer.counts), sort_keys=True))  # noqa: T201
    return 0 if peer.done() else 1


if __name__ == "__main__":
    sys.exit(main())
