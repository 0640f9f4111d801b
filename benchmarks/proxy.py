"""What Zeek's ZeroMQ proxy can carry: CPU time of its threads for each message, over loopback TCP.

    python benchmarks/proxy.py

The proxy of a Zeek cluster is one call of libzmq's ``zmq_proxy``, between an XSUB and an XPUB
socket, with two I/O threads (Zeek's ``ZeroMQ-Proxy.cc``); here the same call runs in a process of
its own. Samples of a capture go through it to ``--sensors`` subscribers, each with its shard, and
verdicts of their size come back. A message passes the proxy's own thread and an I/O thread on
either side: the busiest thread is what saturates, at the inverse of its CPU time for a message.
CPU time is the kernel's, by thread, so that it holds on a machine that does something else as well.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
from pathlib import Path

import zmq
from recorded import Payloads, add_data_option, describe, machine, record

VERDICT_BYTES = 350


def serve() -> None:
    """Be the proxy."""
    context = zmq.Context(io_threads=2)
    xsub, xpub = context.socket(zmq.XSUB), context.socket(zmq.XPUB)
    xpub.setsockopt(zmq.XPUB_NODROP, 1)
    ports = [sock.bind_to_random_port("tcp://127.0.0.1") for sock in (xsub, xpub)]
    print(*ports, flush=True)
    zmq.proxy(xsub, xpub)


def cpu_us(pid: int) -> dict[str, float]:
    """Return microseconds of CPU of each thread of a process."""
    return {
        task.name: int((task / "schedstat").read_text().split()[0]) / 1000
        for task in Path(f"/proc/{pid}/task").iterdir()
    }


def receive(sub: zmq.Socket[bytes], count: int) -> None:
    """Take `count` messages."""
    for _ in range(count):
        sub.recv_multipart()


def carry(pid: int, xsub: str, xpub: str, messages: list[bytes], sensors: int) -> list[float]:
    """Return CPU microseconds for each message, of the threads, the busiest first."""
    with zmq.Context() as context:
        pub = context.socket(zmq.XPUB)
        pub.setsockopt(zmq.XPUB_NODROP, 1)
        pub.connect(xsub)
        topics = [b"/zeek/mtc/sample/%d/" % shard for shard in range(sensors)]
        threads = []
        for shard, topic in enumerate(topics):
            sub = context.socket(zmq.SUB)
            sub.subscribe(topic)
            sub.connect(xpub)
            count = len(range(shard, len(messages), sensors))
            threads.append(threading.Thread(target=receive, args=(sub, count)))
        unheard = {b"\x01" + topic for topic in topics}
        while unheard:
            unheard.discard(pub.recv())
        before = cpu_us(pid)
        for thread in threads:
            thread.start()
        for number, message in enumerate(messages):
            pub.send_multipart([topics[number % sensors], b"node", b"broker-bin-v1", message])
        for thread in threads:
            thread.join()
        used = [spent - before.get(name, 0.0) for name, spent in cpu_us(pid).items()]
        context.destroy(linger=0)
        return sorted((spent / len(messages) for spent in used), reverse=True)


def main() -> None:
    """Print CPU times, and what they let through."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_option(parser)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--sensors", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
    samples = record(options.data)
    payloads = Payloads(samples)
    print(machine())
    print(describe(samples))
    print("messages  subscribers  CPU us/message, by thread  messages/s at most")
    with subprocess.Popen(
        [sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True
    ) as proxy:
        assert proxy.stdout is not None
        try:
            xsub, xpub = (f"tcp://127.0.0.1:{port}" for port in proxy.stdout.readline().split())
            kinds = {
                "samples": [payloads.of(0, seq) for seq in range(1, 2001)]
                * (options.messages // 2000),
                "32 samples": [payloads.of(0, seq, 32) for seq in range(1, 2001)]
                * (options.messages // 2000),
                "verdicts": [bytes(VERDICT_BYTES)] * options.messages,
            }
            for name, messages in kinds.items():
                for sensors in options.sensors:
                    times = carry(proxy.pid, xsub, xpub, messages, sensors)
                    shown = ", ".join(f"{spent:.1f}" for spent in times[:3])
                    print(
                        f"{name:8s} {sensors:12d} {shown:>26s} {1e6 / times[0]:19,.0f}", flush=True
                    )
        finally:
            proxy.kill()


if __name__ == "__main__":
    main()
