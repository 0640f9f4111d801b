"""An exporter and its bus, without Zeek: replays samples at set rates and times the verdicts.

`sensor_rate.py` starts it as a process of its own and talks to it in lines of JSON. It behaves as
`zeek-scripts/publish.zeek` does live: it publishes no further than it was granted, queues up to
``--queue`` samples beyond that, and sheds and counts what finds no room.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import zmq
from numpy.typing import NDArray
from recorded import NODE, RUN, Payloads, add_data_option, record

from mtc_sensor.transports.zeromq import FORMAT
from mtc_sensor.wire import binary_events, topics
from mtc_sensor.wire.events import (
    ExporterStatus,
    Grant,
    MtcEvent,
    Resend,
    SensorHello,
)
from mtc_sensor.wire.records import Records

_RING = 1 << 13
_AT_ONCE = 200
_BATCH = 32
"""Samples that are published together at most."""
_STATUS_S = 5.0
_PATIENCE_S = 20.0
_VERDICTS = b"MTC::verdict_batch"
_BEFORE_MODEL = 9
"""Bytes of the kind."""
_BEFORE_DETAIL = 2 * 9
"""Bytes of score and flags."""


@dataclass(frozen=True)
class Second:
    """What happened in one second; latencies in ms, of verdicts that came in it."""

    at: float
    verdicts: int
    queue: int
    """Samples that waited for a grant at its end; 0 if there was a moment when none did."""
    shed: int
    p50: float
    p99: float
    """From the moment that a sample was published to a verdict."""
    due_p50: float
    due_p99: float
    """From the moment that a sample was due, the exporter's own queue included."""


class Stream:
    """One shard's samples: due, queued, published, acked; their times are kept in rings."""

    def __init__(self, shard: int) -> None:
        self.shard = shard
        self.topic = topics.samples_of(shard).encode()
        self.shed = self.last = self.published = self.acked = self.limit = 0
        self.due, self.sent = np.zeros(_RING), np.zeros(_RING)
        self.shortest = 0
        """The shortest queue since it was asked last."""

    @property
    def queue(self) -> int:
        """Samples that wait for a grant."""
        return self.last - self.published

    def make(self, times: NDArray[np.float64], room: int) -> None:
        """Queue samples that were due at (n,) times, as long as there is room; shed the rest."""
        taken = min(len(times), max(room - self.queue, 0))
        self.shed += len(times) - taken
        self.due[np.arange(self.last + 1, self.last + taken + 1) % _RING] = times[:taken]
        self.last += taken

    def publishable(self) -> Iterator[tuple[int, int]]:
        """Yield the first number and the length of what is to be published now.

        As in `publish.zeek`: as long as some are on their way others wait, until these are settled
        or there are enough.
        """
        upto = min(self.last, self.limit)
        while self.published < upto:
            count = min(upto - self.published, _BATCH)
            if self.published > self.acked and count < _BATCH:
                return
            yield self.published + 1, count
            self.published += count

    def status(self) -> ExporterStatus:
        """Say where the stream stands."""
        return ExporterStatus(RUN, NODE, self.shard, self.acked + 1, self.published, self.shed)


class Exporter:
    """Replays; all times are monotonic seconds."""

    def __init__(self, payloads: Payloads, folder: Path, most_queued: int, shards: int) -> None:
        self.streams = [Stream(shard) for shard in range(shards)]
        self._payloads, self._most_queued = payloads, most_queued
        self._verdicts: list[NDArray[np.float64]] = []
        self._status_at = 0.0
        context = zmq.Context()
        front, back = context.socket(zmq.XPUB), context.socket(zmq.XSUB)
        front.bind(f"ipc://{folder}/xpub")
        back.bind(f"ipc://{folder}/xsub")
        threading.Thread(target=zmq.proxy, args=(front, back), daemon=True).start()
        self._sub, self._pub = context.socket(zmq.SUB), context.socket(zmq.XPUB)
        self._sub.connect(f"ipc://{folder}/xpub")
        self._pub.connect(f"ipc://{folder}/xsub")
        for topic in (topics.verdicts_for(NODE), topics.TO_EXPORTERS, topics.exporter(NODE)):
            self._sub.subscribe(topic)

    @property
    def granted(self) -> bool:
        """Whether sensors are there and take samples."""
        return all(stream.limit > stream.acked for stream in self.streams)

    def total(self, name: str) -> int:
        """Return the sum of the streams' `name`."""
        return sum(getattr(stream, name) for stream in self.streams)

    def replay(self, rate: float, seconds: float) -> list[Second]:
        """Make `rate` samples a second (0: as many as are granted); return what happened."""
        begin = told = time.monotonic()
        shed, made = self.total("shed"), 0
        found: list[Second] = []
        while (now := time.monotonic()) < begin + seconds:
            made = self._make(begin, now, made, rate) if rate else self._fill(now)
            self.turn()
            for stream in self.streams:
                stream.shortest = min(stream.shortest, stream.queue)
            if now - told >= 1.0:
                told = now
                found.append(self._second(now - begin, self.total("shed") - shed))
                shed = self.total("shed")
        return found

    def settle(self) -> float:
        """Wait until everything is acked; return the seconds it took."""
        begin = time.monotonic()
        while self.total("acked") < self.total("last") and time.monotonic() < begin + _PATIENCE_S:
            self.turn()
        took = time.monotonic() - begin
        self._status(time.monotonic())
        return took

    def turn(self) -> None:
        """Publish what may be and take in what came, waiting for it a millisecond at most."""
        now = time.monotonic()
        for stream in self.streams:
            for first, count in stream.publishable():
                stream.sent[np.arange(first, first + count) % _RING] = now
                payload = self._payloads.of(stream.shard, first, count)
                self._pub.send_multipart([stream.topic, b"node", FORMAT, payload])
        if self._sub.poll(1):
            self._receive()
        if now - self._status_at >= _STATUS_S:
            self._status(now)

    def _make(self, begin: float, now: float, made: int, rate: float) -> int:
        """Make what is due of `rate` since `begin`, the shards by turns; return how many so far."""
        due = int((now - begin) * rate)
        numbers = np.arange(made, due)
        for stream in self.streams:
            mine = numbers[numbers % len(self.streams) == stream.shard]
            stream.make(begin + mine / rate, self._most_queued)
        return due

    def _fill(self, now: float) -> int:
        for stream in self.streams:
            stream.make(np.full(max(stream.limit - stream.last, 0), now), self._most_queued)
        return 0

    def _receive(self) -> None:
        judged: list[list[int]] = [[] for _ in self.streams]
        for _ in range(_AT_ONCE):
            try:
                payload = self._sub.recv_multipart(zmq.NOBLOCK)[3]
            except zmq.Again:
                break
            if _VERDICTS in payload[:45]:
                shard, numbers = numbered(payload)
                judged[shard] += numbers
            else:
                self._take(binary_events.decode(payload))
        now = time.monotonic()
        for stream, numbers in zip(self.streams, judged, strict=True):
            rows = np.array(numbers, np.int64) % _RING
            times = np.stack([stream.sent[rows], stream.due[rows]])
            self._verdicts.append(1e3 * (now - times))

    def _take(self, event: MtcEvent | Records) -> None:
        if isinstance(event, SensorHello):
            self._status(time.monotonic())
        elif isinstance(event, Grant):
            stream = self.streams[event.shard]
            stream.acked = max(stream.acked, event.acked)
            stream.limit = event.acked + event.window
        elif isinstance(event, Resend):
            sys.exit(f"{event.first} to {event.last} were lost on the way")

    def _status(self, now: float) -> None:
        self._status_at = now
        for stream in self.streams:
            topic = topics.statuses_of(stream.shard).encode()
            payload = binary_events.encode(stream.status())
            self._pub.send_multipart([topic, b"node", FORMAT, payload])

    def _second(self, at: float, shed: int) -> Second:
        sent, due = np.concatenate([np.empty((2, 0)), *self._verdicts], axis=1)
        self._verdicts.clear()
        queue = self.total("shortest")
        for stream in self.streams:
            stream.shortest = stream.queue
        return Second(at, len(sent), queue, shed, *quantiles(sent), *quantiles(due))


def quantiles(values: NDArray[np.float64]) -> list[float]:
    """Return median and 99th percentile; -1 without values."""
    return np.quantile(values, [0.5, 0.99]).tolist() if len(values) else [-1.0, -1.0]


def numbered(verdicts: bytes) -> tuple[int, list[int]]:
    """Return `shard` and each `seq` of an encoded batch, without decoding the rest."""
    at = verdicts.index(b"\x02", verdicts.index(_VERDICTS) + len(_VERDICTS)) + 9
    for _ in range(3):  # sensor, run, node
        at = past_string(verdicts, at)
    shard = int.from_bytes(verdicts[at + 1 : at + 9], "big")
    _, at = length(verdicts, at + 10)
    numbers = []
    while at < len(verdicts):
        numbers.append(int.from_bytes(verdicts[at + 3 : at + 11], "big"))
        at = past_string(verdicts, at + 11) + _BEFORE_MODEL
        at = past_string(verdicts, past_string(verdicts, at)) + _BEFORE_DETAIL
        at = past_string(verdicts, at)
    return shard, numbers


def past_string(data: bytes, at: int) -> int:
    """Return where the string at `at` ends."""
    size, begin = length(data, at + 1)
    return begin + size


def length(data: bytes, at: int) -> tuple[int, int]:
    """Return a length of one or two bytes and where it ends."""
    size = data[at]
    return (size, at + 1) if size < 0x80 else (size & 0x7F | data[at + 1] << 7, at + 2)


def main() -> None:
    """Do what the lines of standard input say."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_data_option(parser)
    parser.add_argument("--folder", type=Path, required=True, help="where the bus's sockets are")
    parser.add_argument("--shards", type=int, default=1, help="streams, each with its queue")
    parser.add_argument("--queue", type=int, default=2000, help="as MTC::max_queue")
    options = parser.parse_args()
    payloads = Payloads(record(options.data))
    exporter = Exporter(payloads, options.folder, options.queue, options.shards)
    while not exporter.granted:
        exporter.turn()
    print("{}", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        before, cpu, begin = exporter.total("acked"), time.process_time(), time.monotonic()
        seconds = exporter.replay(order["rate"], order["seconds"])
        took = time.monotonic() - begin
        rate = (exporter.total("acked") - before) / took
        cpu = (time.process_time() - cpu) / took
        settled = exporter.settle() if order["settle"] else 0.0
        answer = {
            "rate": rate,
            "cpu": cpu,
            "settled_s": settled,
            "made": exporter.total("last"),
            "shed": exporter.total("shed"),
            "seconds": [asdict(second) for second in seconds],
        }
        print(json.dumps(answer), flush=True)
    os._exit(0)  # the proxy's thread does not end by itself


if __name__ == "__main__":
    main()
