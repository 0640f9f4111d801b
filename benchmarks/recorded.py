"""Samples of real captures, as an exporter sends them; what the other benchmarks share.

Records come from the package's own capture engine, which gives what Zeek gives (docs/parity.md). A
head gets an Ethernet header back, of zeros, so that the sensor has to find the IP header as usual.
"""

from __future__ import annotations

import os
import platform
import random
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from ipaddress import ip_address
from itertools import islice
from pathlib import Path

import numpy as np

from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.capture.records import CaptureFile
from mtc_sensor.errors import CaptureError
from mtc_sensor.flow import FlowBatch, address_texts
from mtc_sensor.wire import binary_events, lines
from mtc_sensor.wire.records import Records, StreamId
from mtc_sensor.wire.sample import Sample, batch_of, write
from mtc_sensor.wire.values import Port, Proto

ROOT = Path(__file__).resolve().parents[1]
RUN, NODE = "run-1", "worker-1"
HEAD_BYTES = 160
"""Bytes of a packet that Zeek's scripts send, from the link layer on: ``MTC::head_bytes``."""
_ETHERNET = 1
_MACS = bytes(12)
_TYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}
_PROTOCOLS = {6: Proto.TCP, 17: Proto.UDP, 1: Proto.ICMP, 58: Proto.ICMP}
_SEQ = 0xFEDC_BA98_7654_3210


def add_data_option(parser: ArgumentParser) -> None:
    """Let the user say which captures samples come from."""
    parser.add_argument(
        "--data",
        type=Path,
        default=ROOT / "samples" / "demo.pcap",
        help="a capture, or a folder of captures (default: %(default)s)",
    )


def record(data: Path, most: int = 5000) -> list[Sample]:
    """Return at most `most` samples of a capture, or of a folder's captures in random order."""
    files = sorted(data.rglob("*.pcap")) if data.is_dir() else [data]
    random.Random(1).shuffle(files)
    found = list(islice((sample for path in files for sample in _records(path)), most))
    if not found:
        sys.exit(f"{data}: no flow records: give a capture, or a folder with some")
    random.Random(2).shuffle(found)
    return found


def _records(path: Path) -> Iterator[Sample]:
    try:
        for batch in CaptureFile(path, FlowSettings(head_bytes=HEAD_BYTES - 14, tokens=True)):
            yield from _samples(batch)
    except CaptureError as fault:
        print(f"left out: {fault}", file=sys.stderr)


def _samples(batch: FlowBatch) -> Iterator[Sample]:
    originators, responders = address_texts(batch.orig_h), address_texts(batch.resp_h)
    documents = batch.documents()
    for row, protocol in enumerate(batch.proto.tolist()):
        orig_h, resp_h = ip_address(originators[row]), ip_address(responders[row])
        heads = range(batch.head_offsets[row], batch.head_offsets[row + 1])
        beginning = _MACS + _TYPES[orig_h.version]
        samples = slice(batch.sample_offsets[row], batch.sample_offsets[row + 1])
        yield Sample(
            run=RUN,
            node=NODE,
            shard=0,
            seq=_SEQ,
            kind=int(batch.kind[row]),
            uid=batch.uid[row].decode(),
            orig_h=orig_h,
            orig_p=Port(int(batch.orig_p[row]), _PROTOCOLS[protocol]),
            resp_h=resp_h,
            resp_p=Port(int(batch.resp_p[row]), _PROTOCOLS[protocol]),
            start_us=int(batch.start_us[row]),
            samples=batch.samples[samples].copy(),
            link=_ETHERNET,
            head=tuple(
                beginning + batch.head[head, : batch.head_len[head]].tobytes() for head in heads
            ),
            tokens=documents[row],
        )


def columns(samples: Sequence[Sample]) -> Records:
    """Return samples as the sensor has them, numbered from 1 on."""
    return lines.read([*map(write, samples)], StreamId(RUN, NODE, 0), 1, _ETHERNET)


class Payloads:
    """Samples in Broker's binary format, over and over, each time with another number."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        # Shard and seq follow each other; then come the link type and a vector of one record.
        number, rest = _count(0) + _count(_SEQ), _count(_ETHERNET) + b"\x0e\x01"
        parts = [binary_events.encode(batch_of([s])).split(number + rest) for s in samples]
        self._header = parts[0][0]
        self._records = [record for _, record in parts]

    def of(self, shard: int, first: int, count: int = 1) -> bytes:
        """Return samples of a shard's stream from `first` on, at most 127."""
        records = (self._records[seq % len(self._records)] for seq in range(first, first + count))
        numbers = _count(shard) + _count(first) + _count(_ETHERNET)
        return b"".join([self._header, numbers, b"\x0e%c" % count, *records])


def _count(number: int) -> bytes:
    return b"\x02" + number.to_bytes(8, "big")


def describe(samples: Sequence[Sample]) -> str:
    """Say in one line what `samples` are."""
    packets = [len(sample.samples) for sample in samples]
    size = np.mean([len(binary_events.encode(batch_of([sample]))) for sample in samples])
    heads = np.mean([len(sample.head) for sample in samples])
    return (
        f"{len(samples)} samples: {np.mean(packets):.1f} packets on average (median "
        f"{np.median(packets):.0f}), {heads:.1f} heads, {size:,.0f} bytes"
    )


def machine() -> str:
    """Say in one line what this machine is, and which versions run."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "pyzmq"))
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores of {model}; Python {platform.python_version()}, {packages}"
