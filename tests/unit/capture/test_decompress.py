"""gzip and zstd: whole, in parts, cut off and damaged."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.capture.build import (
    Packet,
    pcap_bytes,
)
from tests.unit.capture.read import (
    PACKETS,
    read,
    read_to_fault,
    write,
    zstd,
)


def test_compressed_in_parts(tmp_path: Path) -> None:
    data = pcap_bytes(PACKETS)
    head, tail = data[:30], data[30:]
    members = gzip.compress(head) + bytes(512) + gzip.compress(b"") + gzip.compress(tail)
    assert read(write(tmp_path, members + bytes(512))) == PACKETS
    skippable = b"\x5a\x2a\x4d\x18" + (300_000).to_bytes(4, "little") + bytes(300_000)
    frames = skippable + zstd(head) + skippable + zstd(b"") + zstd(tail)
    assert read(write(tmp_path, frames)) == PACKETS


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
def test_compressed_data_cut_anywhere(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    noise: list[Packet] = [(i, os.urandom(40), 40) for i in range(50)]
    data = compress(pcap_bytes(noise))
    most = 0
    for cut in range(4, len(data), 7):
        packets, message = read_to_fault(data[:cut], tmp_path)
        assert packets == noise[: len(packets)]
        assert re.search(rf"byte {cut} of the compressed file: .* cut off here; copy", message)
        most = max(most, len(packets))
    assert most >= 49 or compress is zstd  # one block of zstd is all or nothing


def _flip(data: bytes, position: int) -> bytes:
    flipped = bytearray(data)
    flipped[position] ^= 0x10
    return bytes(flipped)


DAMAGED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "gzip checksum": (lambda data: _flip(gzip.compress(data), -6), "incorrect data check"),
    "gzip length": (lambda data: _flip(gzip.compress(data), -1), "incorrect length check"),
    "gzip tail": (lambda data: gzip.compress(data) + b"tail", "incorrect header check"),
    "zstd checksum": (lambda data: _flip(zstd(data), -1), "doesn't match checksum"),
    "zstd tail": (lambda data: zstd(data) + b"other", "no zstd frame begins here"),
    "second frame": (
        lambda data: zstd(data) + _flip(zstd(bytes(99)), -7),
        "damaged in the frame that begins here",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_behind_the_packets_of_compressed_data(tmp_path: Path, name: str) -> None:
    damage, expected = DAMAGED[name]
    packets, message = read_to_fault(damage(pcap_bytes(PACKETS)), tmp_path)
    assert packets == PACKETS
    assert expected in message
    assert re.search(r"byte \d+ of the compressed file: .*; copy .* \(the 4 packets", message)


def test_damaged_deflate_data_gives_what_comes_before_it(tmp_path: Path) -> None:
    packets: list[Packet] = [(i, bytes(range(100)), 100) for i in range(500)]
    data = pcap_bytes(packets)
    deflate = zlib.compressobj(wbits=31)
    head = deflate.compress(data[:-30]) + deflate.flush(zlib.Z_FULL_FLUSH)
    before, message = read_to_fault(head + b"\x07 no such block type", tmp_path)
    assert before == packets[:-1]
    assert "invalid block type" in message
