"""Read captures back in tests, as plain Python values."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path

import zstandard

from mtc_sensor.capture.packets import PacketBatch
from mtc_sensor.capture.pcap import read_packets
from mtc_sensor.errors import CaptureError
from tests.unit.capture.build import Packet

Writer = Callable[[Sequence[Packet]], bytes]
Read = list[tuple[int, bytes, int]]

PACKETS: Read = [(10, b"first", 60), (20, b"2nd", 3), (30, b"", 0), (40, b"fourth!", 7)]


def zstd(data: bytes) -> bytes:
    """Compress with a checksum."""
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstd,
}


def write(folder: Path, data: bytes) -> Path:
    """Return a file of these bytes; there is one per folder."""
    path = folder / "capture"
    path.write_bytes(data)
    return path


def unpack(batch: PacketBatch) -> Read:
    """Return a batch's packets as time, captured bytes and bytes on the wire."""
    ends = batch.offset + batch.caplen
    assert not len(batch) or int(ends.max()) <= len(batch.data)
    return [
        (ts_us, batch.data[start:end].tobytes(), wirelen)
        for ts_us, start, end, wirelen in zip(
            batch.ts_us.tolist(),
            batch.offset.tolist(),
            ends.tolist(),
            batch.wirelen.tolist(),
            strict=True,
        )
    ]


def read(path: Path, chunk_bytes: int = 1 << 16) -> Read:
    """Return all packets, unpacked at the very end: what was handed out must stay as it was."""
    batches = list(read_packets(path, chunk_bytes=chunk_bytes))
    return [packet for batch in batches for packet in unpack(batch)]


def read_to_fault(data: bytes, folder: Path, chunk_bytes: int = 1 << 16) -> tuple[Read, str]:
    """Return the packets that come before the error, and its message ("" if there is none)."""
    packets: Read = []
    try:
        for batch in read_packets(write(folder, data), chunk_bytes=chunk_bytes):
            packets += unpack(batch)
    except CaptureError as error:
        return packets, str(error)
    return packets, ""


def links(path: Path) -> list[int]:
    """Return all packets' link types."""
    return [link for batch in read_packets(path) for link in batch.link.tolist()]
