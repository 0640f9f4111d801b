"""The ZeroMQ transport's intake against bare pyzmq receive loops, in one run, over loopback TCP.

    python benchmarks/intake.py

A process of its own publishes samples of a capture as fast as they are taken, ``--batch`` in a
message: Zeek puts up to 32 into one where there are many. The same messages are received by (1) a
bare loop around ``recv_multipart``, (2) that loop decoding each, (3) the transport, whose thread
receives, decodes and puts into the inbox, while the main thread empties that and counts. The three
take turns; medians of ``--rounds`` are printed, in samples per second.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import zmq
from recorded import Payloads, add_data_option, describe, machine, record

from mtc_sensor.transports.base import Inbox
from mtc_sensor.transports.zeromq import FORMAT, ZeroMQ
from mtc_sensor.wire import binary_events, topics
from mtc_sensor.wire.records import Records

TOPIC = topics.samples_of(0)


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


def transport(xpub: str, xsub: str, count: int) -> float:
    """Receive `count` messages through the transport; return seconds from the first on."""
    inbox = Inbox(1 << 20)
    zeromq = ZeroMQ(inbox, [TOPIC], xpub, xsub)
    zeromq.start()
    received, begin = 0, 0.0
    while received < count:
        items = inbox.get(10.0)
        begin = begin or time.monotonic()
        received += sum(isinstance(item, Records) for item in items)
        if zeromq.counts or not items:
            sys.exit(f"{count - received} messages were not received: {dict(zeromq.counts)}")
    took = time.monotonic() - begin
    zeromq.close()
    return took


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
                "bare receive loop, decoding": lambda: bare(xpub, count, binary_events.decode),
                "transport, decoding": lambda: transport(xpub, xsub, count),
            }
            rounds = [[run() for run in sides.values()] for _ in range(options.rounds)]
        finally:
            sender.kill()
    rates = [
        count * options.batch / statistics.median(times) for times in zip(*rounds, strict=True)
    ]
    for name, rate in zip(sides, rates, strict=True):
        print(f"{name:28s} {rate:10,.0f} samples/s {rates[-1] / rate:6.2f} = transport / this")


if __name__ == "__main__":
    main()
