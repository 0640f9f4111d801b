"""Any packets through any format and back; any damage to any capture."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.capture.build import (
    Packet,
    interface,
    pcap_bytes,
    pcap_header,
    pcapng_bytes,
    section,
    simple,
)
from tests.unit.capture.read import (
    COMPRESS,
    PACKETS,
    Writer,
    read,
    read_to_fault,
    write,
    zstd,
)

TIMES = st.integers(0, 2**32 * 10**6 - 1)


@st.composite
def _packets(draw: st.DrawFn) -> list[Packet]:
    rows = draw(st.lists(st.tuples(TIMES, st.binary(max_size=80), st.integers(0, 99)), max_size=9))
    return [(ts_us, data, len(data) + more) for ts_us, data, more in rows]


FORMATS: st.SearchStrategy[Writer] = st.one_of(
    st.builds(
        lambda nano, big: lambda p: pcap_bytes(p, nanoseconds=nano, big_endian=big),
        st.booleans(),
        st.booleans(),
    ),
    st.builds(
        lambda resolution, big: lambda p: pcapng_bytes(p, tsresol=resolution, big_endian=big),
        st.one_of(st.none(), st.integers(6, 9), st.integers(0x80 | 20, 0x80 | 31)),
        st.booleans(),
    ),
)


@settings(max_examples=150, deadline=None)
@given(
    packets=_packets(),
    make=FORMATS,
    compression=st.sampled_from(sorted(COMPRESS)),
    chunk_bytes=st.sampled_from([1, 7, 64, 1 << 20]),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    packets: list[Packet],
    make: Writer,
    compression: str,
    chunk_bytes: int,
) -> None:
    path = write(tmp_path_factory.getbasetemp(), COMPRESS[compression](make(packets)))
    assert read(path, chunk_bytes) == packets


SEEDS = [
    pcap_bytes(PACKETS),
    pcap_bytes(PACKETS, nanoseconds=True, big_endian=True),
    pcapng_bytes(PACKETS),
    pcapng_bytes(PACKETS, tsresol=9, big_endian=True) + section() + interface() + simple(b"x", 1),
    gzip.compress(pcap_bytes(PACKETS)),
    zstd(pcapng_bytes(PACKETS)),
]


@settings(max_examples=400, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(
        st.tuples(st.integers(0, 999), st.binary(min_size=1, max_size=6), st.booleans()),
        min_size=1,
        max_size=4,
    ),
    chunk_bytes=st.sampled_from([1, 50, 1 << 16]),
)
def test_mutated_captures_give_packets_or_a_capture_error(
    tmp_path_factory: pytest.TempPathFactory,
    seed: bytes,
    edits: list[tuple[int, bytes, bool]],
    chunk_bytes: int,
) -> None:
    data = bytearray(seed)
    for position, new, insert in edits:
        at = position % (len(data) + 1)
        data[at : at if insert else at + len(new)] = new
    packets, _ = read_to_fault(bytes(data), tmp_path_factory.getbasetemp(), chunk_bytes)
    assert len(packets) <= len(data)
    assert all(len(captured) <= wirelen for _, captured, wirelen in packets)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", pcap_header(), section() + interface(), b"\x1f\x8b\x08"]),
)
def test_noise(tmp_path_factory: pytest.TempPathFactory, noise: bytes, head: bytes) -> None:
    packets, _ = read_to_fault(head + noise, tmp_path_factory.getbasetemp(), 64)
    assert all(len(captured) <= wirelen for _, captured, wirelen in packets)
