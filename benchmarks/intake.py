"""The ZeroMQ transport's intake against bare pyzmq receive loops, in one run, over loopback TCP.

    python benchmarks/intake.py

A process of its own publishes samples of a capture as fast as they are taken, ``--batch`` in a
message: Zeek puts up to 32 into one where there are many. The same messages are received by (1) a
bare loop around ``recv_multipart``, (2) the transport, whose thread puts them into an inbox that
only counts them, (3) the bare loop decoding each, (4) the transport, with an inbox that the main
thread empties, which decodes. The four take turns; medians of ``--rounds`` are printed, in samples
per second.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import zmq
from recorded import Payloads, add_data_option, describe, machine, record

from mtc_sensor.transports.base import Inbox, Incoming, Message
from mtc_sensor.transports.zeromq import FORMAT, ZeroMQ
from mtc_sensor.wire import binary_events, topics
from mtc_sensor.wire.records import Records

TOPIC = topics.samples_of(0)
_PATIENCE_S = 30.0
InboxT = TypeVar("InboxT", bound=Inbox)


def send(data: Path, count: int, batch: int) -> None:
    """Publish `count` messages to whoever subscribes, once; then to the next."""
    payloads = Payloads(record(data))
    ready = [payloads.of(0, first, batch) for first in range(1, 2001, batch)]
    with zmq.Context() as context:
        pub, proxy_in = context.socket(zmq.XPUB), context.socket(zmq.XSUB)
        pub.setsockopt(zmq.XPUB_NODROP, 1)
        pub.setsockopt(zmq.XPUB_VERBOSE, 1)
        ports = [sock.bind_to_random_port("tcp://127.0.0.1") for sock in (pub, proxy_in)]
        print(*ports, flush=True)
        while True:
            if pub.recv() == b"\x01" + TOPIC.encode():
                for seq in range(count):
                    pub.send_multipart([TOPIC.encode(), b"node", FORMAT, ready[seq % len(ready)]])


def bare(xpub: str, count: int, take: Callable[[bytes], object]) -> float:
    """Receive `count` messages and `take` their payloads; return seconds from the first on."""
    with zmq.Context() as context, context.socket(zmq.SUB) as sub:
        sub.subscribe(TOPIC)
        sub.connect(xpub)
        sub.poll()
        begin = time.monotonic()
        for _ in range(count):
            take(sub.recv_multipart()[3])
        return time.monotonic() - begin


class Counting(Inbox):
    """Takes messages and keeps none; `full` when there were as many as were wanted."""

    def __init__(self, wanted: int) -> None:
        super().__init__()
        self.left, self.begin = wanted, 0.0
        self.full = threading.Event()

    def put(self, messages: Sequence[Message], read: Callable[[Message], Incoming | None]) -> int:
        """Count, and begin to measure the time with the first."""
        self.begin = self.begin or time.monotonic()
        self.left -= len(messages)
        if self.left <= 0:
            self.full.set()
        return 0


@contextmanager
def receiving(xpub: str, xsub: str, inbox: InboxT) -> Iterator[InboxT]:
    """Have the transport fill an inbox; end if it drops anything."""
    zeromq = ZeroMQ(inbox, [TOPIC], xpub, xsub)
    zeromq.start()
    try:
        yield inbox
    finally:
        zeromq.close()
    if zeromq.counts:
        sys.exit(f"messages were dropped: {dict(zeromq.counts)}")


def taken_in(xpub: str, xsub: str, count: int) -> float:
    """Receive `count` messages into an inbox that counts; return seconds from the first on."""
    with receiving(xpub, xsub, Counting(count)) as inbox:
        if not inbox.full.wait(_PATIENCE_S):
            sys.exit(f"{inbox.left} messages were not received")
        return time.monotonic() - inbox.begin


def decoded(xpub: str, xsub: str, count: int) -> float:
    """Receive `count` messages and decode them; return seconds from the first on."""
    with receiving(xpub, xsub, Inbox(1 << 20)) as inbox:
        received, begin = 0, 0.0
        while received < count:
            items = inbox.get(_PATIENCE_S)
            begin = begin or time.monotonic()
            received += sum(isinstance(item, Records) for item in items)
            if not items:
                sys.exit(f"{count - received} messages were not received")
        return time.monotonic() - begin


def main() -> None:
    """Print samples per second and ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_option(parser)
    parser.add_argument("--samples", type=int, default=50_000, help="in each round")
    parser.add_argument("--batch", type=int, default=32, help="samples in a message, up to 127")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--send", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    count = options.samples // options.batch
    if options.send:
        send(options.data, count, options.batch)
    print(machine())
    print(describe(record(options.data)))
    command = [sys.executable, __file__, "--send", "--data", options.data]
    command += ["--samples", str(options.samples), "--batch", str(options.batch)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sender:
        assert sender.stdout is not None
        try:
            xpub, xsub = (f"tcp://127.0.0.1:{port}" for port in sender.stdout.readline().split())
            sides: dict[str, Callable[[], float]] = {
                "bare receive loop": lambda: bare(xpub, count, lambda payload: None),
                "transport": lambda: taken_in(xpub, xsub, count),
                "bare receive loop, decoding": lambda: bare(xpub, count, binary_events.decode),
                "transport, decoding": lambda: decoded(xpub, xsub, count),
            }
            rounds = [[run() for run in sides.values()] for _ in range(options.rounds)]
        finally:
            sender.kill()
    rates = [
        count * options.batch / statistics.median(times) for times in zip(*rounds, strict=True)
    ]
    for number, (name, rate) in enumerate(zip(sides, rates, strict=True)):
        share = f"{rate / rates[number - 1]:6.2f} of that" if number % 2 else ""
        print(f"{name:28s} {rate:10,.0f} samples/s {share}".rstrip())


if __name__ == "__main__":
    main()
