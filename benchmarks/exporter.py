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
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import zmq
from numpy.typing import NDArray
from recorded import NODE, RUN, SHARD, Payloads, add_data_option, record

from mtc_sensor.transports.zeromq import FORMAT
from mtc_sensor.wire import binary_events, topics
from mtc_sensor.wire.events import (
    ExporterStatus,
    Grant,
    MtcEvent,
    Resend,
    SensorHello,
)

_RING = 1 << 13
_AT_ONCE = 200
_STATUS_S = 5.0
_PATIENCE_S = 20.0
_VERDICT = b"MTC::verdict"


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


class Exporter:
    """Replays; all times are monotonic seconds."""

    def __init__(self, payloads: Payloads, folder: Path, most_queued: int) -> None:
        self.shed = self.last = self.published = self.acked = 0
        self._payloads, self._most_queued = payloads, most_queued
        self._limit = 0
        self._due, self._sent = np.zeros(_RING), np.zeros(_RING)
        self._verdicts: list[NDArray[np.float64]] = []
        self._status_at = 0.0
        self._shortest = 0
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
        """Whether a sensor is there and takes samples."""
        return self._limit > self.acked

    def replay(self, rate: float, seconds: float) -> list[Second]:
        """Make `rate` samples a second (0: as many as are granted); return what happened."""
        begin = time.monotonic()
        shed, made, told = self.shed, 0, [begin]
        found: list[Second] = []
        while (now := time.monotonic()) < begin + seconds:
            due = int((now - begin) * rate) if rate else made + max(self._limit - self.last, 0)
            self._make(begin, made, due, rate)
            made = due
            self.turn()
            self._shortest = min(self._shortest, self.last - self.published)
            if now - told[-1] >= 1.0:
                told.append(now)
                found.append(self._second(now - begin, self.shed - shed))
                shed = self.shed
        return found

    def settle(self) -> float:
        """Wait until everything is acked; return the seconds it took."""
        begin = time.monotonic()
        while self.acked < self.last and time.monotonic() < begin + _PATIENCE_S:
            self.turn()
        took = time.monotonic() - begin
        self._status(time.monotonic())
        return took

    def turn(self) -> None:
        """Publish what may be and take in what came, waiting for it a millisecond at most."""
        now = time.monotonic()
        topic = topics.samples_of(SHARD).encode()
        upto = min(self.last, self._limit, self.published + _AT_ONCE)
        for seq in range(self.published + 1, upto + 1):
            self._sent[seq % _RING] = now
            self._pub.send_multipart([topic, b"node", FORMAT, self._payloads[seq]])
        self.published = max(self.published, upto)
        if self._sub.poll(1):
            self._receive()
        if now - self._status_at >= _STATUS_S:
            self._status(now)

    def _make(self, begin: float, made: int, due: int, rate: float) -> None:
        room = self._most_queued - (self.last - self.published)
        taken = min(due - made, max(room, 0))
        self.shed += due - made - taken
        for number in range(made + 1, made + taken + 1):
            self.last += 1
            self._due[self.last % _RING] = begin + number / rate if rate else time.monotonic()

    def _receive(self) -> None:
        judged = []
        for _ in range(_AT_ONCE):
            try:
                payload = self._sub.recv_multipart(zmq.NOBLOCK)[3]
            except zmq.Again:
                break
            if _VERDICT in payload[:40]:
                judged.append(sequence_number(payload))
            else:
                self._take(binary_events.decode(payload))
        now, rows = time.monotonic(), np.array(judged, np.int64) % _RING
        self._verdicts.append(1e3 * np.stack([now - self._sent[rows], now - self._due[rows]]))

    def _take(self, event: MtcEvent) -> None:
        if isinstance(event, SensorHello):
            self._status(time.monotonic())
        elif isinstance(event, Grant):
            self.acked = max(self.acked, event.acked)
            self._limit = event.acked + event.window
        elif isinstance(event, Resend):
            sys.exit(f"{event.first} to {event.last} were lost on the way")

    def _status(self, now: float) -> None:
        self._status_at = now
        status = ExporterStatus(RUN, NODE, SHARD, self.acked + 1, self.published, self.shed)
        topic = topics.statuses_of(SHARD).encode()
        self._pub.send_multipart([topic, b"node", FORMAT, binary_events.encode(status)])

    def _second(self, at: float, shed: int) -> Second:
        sent, due = np.concatenate([np.empty((2, 0)), *self._verdicts], axis=1)
        self._verdicts.clear()
        queue, self._shortest = self._shortest, self.last - self.published
        return Second(at, len(sent), queue, shed, *quantiles(sent), *quantiles(due))


def quantiles(values: NDArray[np.float64]) -> list[float]:
    """Return median and 99th percentile; -1 without values."""
    return np.quantile(values, [0.5, 0.99]).tolist() if len(values) else [-1.0, -1.0]


def sequence_number(verdict: bytes) -> int:
    """Return `seq` of an encoded verdict: after version, three short strings and the shard."""
    at = verdict.index(_VERDICT) + len(_VERDICT)
    at = verdict.index(b"\x02", at) + 9
    for _ in range(3):
        at += 2 + verdict[at + 1]
    return int.from_bytes(verdict[at + 10 : at + 18], "big")


def main() -> None:
    """Do what the lines of standard input say."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_data_option(parser)
    parser.add_argument("--folder", type=Path, required=True, help="where the bus's sockets are")
    parser.add_argument("--queue", type=int, default=2000, help="as MTC::max_queue")
    options = parser.parse_args()
    exporter = Exporter(Payloads(record(options.data)), options.folder, options.queue)
    while not exporter.granted:
        exporter.turn()
    print("{}", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        before, cpu, begin = exporter.acked, time.process_time(), time.monotonic()
        seconds = exporter.replay(order["rate"], order["seconds"])
        took = time.monotonic() - begin
        rate = (exporter.acked - before) / took
        cpu = (time.process_time() - cpu) / took
        settled = exporter.settle() if order["settle"] else 0.0
        answer = {
            "rate": rate,
            "cpu": cpu,
            "settled_s": settled,
            "made": exporter.last,
            "acked": exporter.acked,
            "shed": exporter.shed,
            "seconds": [asdict(second) for second in seconds],
        }
        print(json.dumps(answer), flush=True)
    os._exit(0)  # the proxy's thread does not end by itself


if __name__ == "__main__":
    main()
