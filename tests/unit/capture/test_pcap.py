"""Classic pcap: what is in the file is what comes out, in every variant of the format."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from mtc_sensor.capture.pcap import read_packets
from tests.unit.capture.build import (
    Packet,
    pcap_bytes,
    pcap_header,
    pcapng_bytes,
)
from tests.unit.capture.read import (
    PACKETS,
    Writer,
    links,
    read,
    write,
)


def test_little_endian_microseconds(tmp_path: Path) -> None:
    data = bytes.fromhex(
        "d4c3b2a1 0200 0400 00000000 00000000 00000400 01000000"
        "00f15365 40420f00 03000000 3c000000 616263"  # 1,000,000 us: normalised, not refused
        "ffffffff 01000000 00000000 00000000"  # seconds are unsigned
    )
    assert read(write(tmp_path, data)) == [
        (1_700_000_001_000_000, b"abc", 60),
        (4_294_967_295_000_001, b"", 0),
    ]


def test_big_endian_nanoseconds_are_truncated(tmp_path: Path) -> None:
    data = bytes.fromhex(
        "a1b23c4d 0002 0004 00000000 00000000 00040000 00000065"
        "6553f100 000007cf 00000002 00000001 4500"  # 1,999 ns; wire length below captured length
    )
    path = write(tmp_path, data)
    assert read(path) == [(1_700_000_000_000_001, b"\x45\x00", 2)]
    assert links(path) == [101]


@pytest.mark.parametrize("order", ["<", ">"])
def test_kuznetzov_records_have_eight_bytes_more(tmp_path: Path, order: str) -> None:
    record = struct.pack(order + "IIIIIHBx", 5, 6, 3, 9, 1, 0x0800, 4) + b"abc"
    data = pcap_header(magic=0xA1B2CD34, big_endian=order == ">") + record + record
    assert read(write(tmp_path, data)) == [(5_000_006, b"abc", 9)] * 2


def test_frame_check_sequence_bits_are_no_link_type(tmp_path: Path) -> None:
    assert links(write(tmp_path, pcap_bytes(PACKETS, link=0x2400_0001))) == [1] * 4


@pytest.mark.parametrize(("snaplen", "kept"), [(2, 2), (0, 5), (0xFFFFFFFF, 5)])
def test_packets_are_cut_to_the_snapshot_length(tmp_path: Path, snaplen: int, kept: int) -> None:
    path = write(tmp_path, pcap_bytes([(1, b"first")], snaplen=snaplen))
    assert read(path) == [(1, b"first"[:kept], 5)]


@pytest.mark.parametrize("make", [pcap_bytes, pcapng_bytes])
def test_many_packets_come_in_bounded_batches(tmp_path: Path, make: Writer) -> None:
    data = make([(i, b"x") for i in range(70_000)])
    sizes = [len(b) for b in read_packets(write(tmp_path, data), chunk_bytes=4 << 20)]
    assert sizes == [65_536, 4_464]


@pytest.mark.parametrize("make", [pcap_bytes, pcapng_bytes])
def test_a_packet_larger_than_a_chunk(tmp_path: Path, make: Writer) -> None:
    packets: list[Packet] = [(1, b"a"), (2, bytes(range(256)) * 1024), (3, b"b")]
    path = write(tmp_path, make(packets))
    assert [len(data) for _, data, _ in read(path, chunk_bytes=512)] == [1, 262_144, 1]


def test_unknown_link_types_are_no_fault_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, pcap_bytes(PACKETS, link=65_000))
    assert links(path) == [65_000] * 4
