"""pcapng: sections, interfaces and clocks of every kind, and blocks that cannot be."""

from __future__ import annotations

import gzip
import re
import struct
import tracemalloc
from pathlib import Path

import pytest

from mtc_sensor.capture import pcapng
from mtc_sensor.capture.pcap import CaptureReader
from tests.unit.capture.build import (
    ENHANCED,
    INTERFACE,
    NAMES,
    PACKET,
    SECTION,
    SIMPLE,
    block,
    enhanced,
    interface,
    obsolete,
    option,
    pcapng_bytes,
    section,
    simple,
)
from tests.unit.capture.read import (
    PACKETS,
    links,
    read,
    read_to_fault,
    write,
)


def test_pcapng_by_the_byte(tmp_path: Path) -> None:
    data = bytes.fromhex(
        "0a0d0d0a 0000001c 1a2b3c4d 0001 0000 ffffffffffffffff 0000001c"
        "00000001 00000020 0065 0000 00000000 00090001 09000000 00000000 00000020"
        "00000006 00000024 00000000 179d4e6f 8db40000 00000001 00000040 45000000 00000024"
    )
    path = write(tmp_path, data)
    assert read(path) == [(0x179D4E6F8DB40000 // 1000, b"\x45", 64)]
    assert links(path) == [101]


def test_interfaces_have_their_own_link_type_and_clock(tmp_path: Path) -> None:
    year = 1_600_000_000
    data = (
        section()
        + interface(1)
        + interface(101, tsresol=9, tsoffset=-100)
        + interface(113, tsresol=0x80 | 32)
        + interface(0, tsresol=0)
        + enhanced(year * 10**6 + 7, b"us", 2)
        + enhanced(year * 10**9 + 7999, b"ns", 2, iface=1)
        + enhanced(year << 32 | 3 << 30, b"2^-32", 5, iface=2)
        + obsolete(year, b"s", 1, iface=3)
    )
    path = write(tmp_path, data)
    assert read(path) == [
        (year * 10**6 + 7, b"us", 2),
        ((year - 100) * 10**6 + 7, b"ns", 2),
        (year * 10**6 + 750_000, b"2^-32", 5),
        (year * 10**6, b"s", 1),
    ]
    assert links(path) == [1, 101, 113, 0]


def test_finest_and_absurd_clocks(tmp_path: Path) -> None:
    data = section()
    data += interface(tsresol=0x80 | 50) + interface(tsresol=19) + interface(tsresol=0)
    data += interface(tsoffset=-(2**63))
    ticks = 2**64 - 1
    data += b"".join(enhanced(ticks, b"", 0, iface=i) for i in range(4))
    expected = [ticks * 10**6 >> 50, ticks // 10**13, 2**40 * 10**6]
    assert [ts_us for ts_us, _, _ in read(write(tmp_path, data))] == [
        *expected,
        min(ticks, 2**40 * 10**6 + ticks % 10**6) - 2**40 * 10**6,
    ]


def test_sections_begin_anew_in_their_own_byte_order(tmp_path: Path) -> None:
    parts = [pcapng_bytes(PACKETS, link=1), pcapng_bytes(PACKETS, link=101, big_endian=True)]
    path = write(tmp_path, b"".join(parts))
    assert read(path) == PACKETS * 2
    assert links(path) == [1] * 4 + [101] * 4


@pytest.mark.parametrize("big_endian", [False, True])
def test_simple_packets_take_the_time_before_them(tmp_path: Path, big_endian: bool) -> None:
    data = (
        section(big_endian=big_endian)
        + interface(snaplen=4, big_endian=big_endian)
        + simple(b"abc", 3, big_endian=big_endian)
        + obsolete(77, b"old", 8, big_endian=big_endian)
        + simple(b"abcd", 1500, big_endian=big_endian)
    )
    expected = [(0, b"abc", 3), (77, b"old", 8), (77, b"abcd", 1500)]
    assert read(write(tmp_path, data)) == expected
    assert read(write(tmp_path, data), chunk_bytes=1) == expected


def test_other_blocks_are_skipped_and_counted(tmp_path: Path) -> None:
    kinds = [NAMES, 5, 9, 10, 0xBAD, 0x40000BAD, 0x8000_1234, 0]
    others = b"".join(block(kind, b"content") for kind in kinds)
    data = section() + others + interface() + others + enhanced(5, b"packet", 6) + others
    for chunk_bytes in (1, 1 << 20):
        with CaptureReader(write(tmp_path, data), chunk_bytes=chunk_bytes) as reader:
            assert [len(batch) for batch in reader] == [1]
        assert reader.skipped == {
            "unknown": 6,
            "name resolution": 3,
            "interface statistics": 3,
            "systemd journal export": 3,
            "decryption secrets": 3,
            "custom": 6,
        }


def test_options_before_the_clock(tmp_path: Path) -> None:
    comment = option(1, b"five!")
    body = struct.pack("<HHI", 1, 0, 0) + comment + option(9, b"\x03")  # no end of options either
    data = section() + block(1, body) + enhanced(1_234, b"", 0)
    assert read(write(tmp_path, data)) == [(1_234_000, b"", 0)]


def test_a_block_of_any_length_is_skipped_in_bounded_memory(tmp_path: Path) -> None:
    data = section() + block(0x7777, bytes(64 << 20)) + interface() + enhanced(5, b"packet", 6)
    path = write(tmp_path, gzip.compress(data, 1))
    del data
    read(write(tmp_path, path.read_bytes()))  # loads the compiled scan
    tracemalloc.start()
    try:
        assert read(path) == [(5, b"packet", 6)]
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


HEAD = section() + interface()
GOOD = enhanced(5, b"good", 4)


def _with_total(data: bytes, total: int) -> bytes:
    return data[:4] + struct.pack("<I", total) + data[8:]


def _with_trailer(data: bytes, total: int) -> bytes:
    return data[:-4] + struct.pack("<I", total)


def _enhanced_of(captured: int, iface: int = 0) -> bytes:
    return block(ENHANCED, struct.pack("<IIIII", iface, 0, 0, captured, captured) + bytes(8))


BAD_BLOCKS = {
    "short": (_with_total(GOOD, 8), "a block that is 8 bytes long, not a multiple of 4"),
    "zero": (_with_total(block(77, b""), 0), "a block that is 0 bytes long"),
    "unaligned": (_with_total(GOOD, 41), "a block that is 41 bytes long, not a multiple of 4"),
    "trailer": (_with_trailer(GOOD, 44), "40 bytes long by its head, 44 by its end"),
    "skipped trailer": (_with_trailer(block(77, b""), 16), "12 bytes long by its head, 16 by its"),
    "huge packet": (_with_total(GOOD, 1 << 20), "block of type 6 that is 1048576 bytes long"),
    "tiny packet": (block(ENHANCED, bytes(12)), "a block of type 6 that is 24 bytes long"),
    "tiny simple": (block(SIMPLE, b""), "a block of type 3 that is 12 bytes long"),
    "tiny obsolete": (block(PACKET, bytes(16)), "a block of type 2 that is 28 bytes long"),
    "tiny interface": (block(INTERFACE, bytes(4)), "a block of type 1 that is 16 bytes long"),
    "tiny section": (
        block(SECTION, b"\x4d\x3c\x2b\x1a" + bytes(8)),
        "a block of type 168627466 that is 24 bytes long",
    ),
    "no such interface": (enhanced(5, b"", 0, iface=1), "interface 1, where 1 have been described"),
    "no such interface, obsolete": (
        obsolete(5, b"", 0, iface=65_535),
        "interface 65535, where 1 have been",
    ),
    "no interface": (section() + simple(b"", 0), "interface 0, where 0 have been described"),
    "long packet": (_enhanced_of(9), "a packet of 9 bytes, where 8 are the most possible"),
    "endless packet": (_enhanced_of(0xFFFFFFFF), "a packet of 4294967295 bytes, where 8 are"),
    "byte order": (block(SECTION, bytes(16)), "a section with byte-order magic b'.x00"),
    "version": (
        block(SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 2, 0, -1)),
        "pcapng version 2.0, where only 1.x is known; convert .* editcap",
    ),
    "option": (
        block(INTERFACE, bytes(8) + struct.pack("<HH", 2, 5)),
        "interface 1 cannot be used: its option 2 of 5 bytes does not fit into the block; convert",
    ),
    "decimal clock": (interface(tsresol=20), "if_tsresol. is 0x14, where 10.-19"),
    "binary clock": (interface(tsresol=0x80 | 51), "if_tsresol. is 0xb3, where"),
    "clock length": (block(INTERFACE, bytes(8) + option(9, b"")), "if_tsresol. is 0x, where"),
    "offset length": (
        block(INTERFACE, bytes(8) + option(14, b"1234")),
        "if_tsoffset. has 4 bytes instead of 8",
    ),
}


@pytest.mark.parametrize("chunk_bytes", [1, 1 << 16])
@pytest.mark.parametrize("name", BAD_BLOCKS)
def test_a_block_that_cannot_be(tmp_path: Path, name: str, chunk_bytes: int) -> None:
    bad, expected = BAD_BLOCKS[name]
    packets, message = read_to_fault(HEAD + GOOD + bad + GOOD, tmp_path, chunk_bytes)
    assert packets == [(5, b"good", 4)]
    assert re.search(expected, message)
    where = re.search(r"capture: byte (\d+): .*; .* \(the 1 packets before it were read", message)
    assert where
    assert len(HEAD + GOOD) <= int(where[1]) < len(HEAD + GOOD + bad)


def test_more_interfaces_than_there_is_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pcapng, "MAX_INTERFACES", 100)
    bare = block(INTERFACE, bytes(8))
    packets, message = read_to_fault(section() + bare * 100 + GOOD + bare, tmp_path)
    assert len(packets) == 1
    assert "more than 100 interfaces; the capture is damaged" in message
