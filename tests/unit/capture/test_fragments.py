"""Reassembly across batches, by Zeek's rules."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtc_sensor.capture import fragments
from mtc_sensor.capture.decode import Decoder
from tests.unit.capture.decoded import Row, decode, rows
from tests.unit.capture.frames import (
    A4,
    A6,
    B4,
    B6,
    GRE,
    TCP,
    UDP,
    batch,
    ethernet,
    extension,
    fragment_header,
    fragments4,
    fragments6,
    gre,
    ipv4,
    ipv6,
    tcp,
    udp,
    vxlan,
)

RAW = 101
BODY = bytes(range(200)) * 5
PARTS4 = fragments4(udp(BODY), 400)
PARTS6 = fragments6(udp(BODY), 400)
ROW4 = Row(2, UDP, A4, 40000, B4, 53, 1028, 1000)
ROW6 = Row(2, UDP, A6, 40000, B6, 53, 1048, 1000)
PENDING = {"fragment_pending": 2}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_fragments_become_one_row_with_the_last_to_come(order: tuple[int, ...]) -> None:
    assert decode([PARTS4[i] for i in order], RAW) == ([ROW4], PENDING)
    assert decode([PARTS6[i] for i in order], RAW) == ([ROW6], PENDING)


def test_the_row_points_at_the_last_fragment_and_has_no_transport_header() -> None:
    frames = [ethernet(part) + b"trailer" for part in PARTS4]
    packets = batch(frames, times=[10, 20, 30])

    decoded = Decoder().decode(packets)

    assert decoded.ts_us.tolist() == [30]
    assert decoded.ip_offset.tolist() == [packets.offset[2] + 14]
    assert decoded.ip_captured.tolist() == [len(PARTS4[2])]
    assert decoded.l4_offset.tolist() == [0]


def test_fragments_may_come_in_different_batches() -> None:
    decoder = Decoder()

    found = [
        rows(decoder.decode(batch([part, other], RAW)))
        for part, other in zip(PARTS4, PARTS6[::-1], strict=True)
    ]

    assert found == [[], [], [ROW4._replace(packet=0), ROW6._replace(packet=1)]]
    assert decoder.counts == {"fragment_pending": 4}


def test_tcp_fields_come_from_the_first_fragment_however_small() -> None:
    parts = fragments4(tcp(bytes(40), options=b"\x01" * 8), 8, TCP)

    decoded = Decoder().decode(batch(parts, RAW))

    assert rows(decoded) == [Row(len(parts) - 1, TCP, A4, 40000, B4, 443, 88, 40)]
    assert (decoded.tcp_seq[0], decoded.tcp_flags[0]) == (0x01020304, 0x18)


def test_what_came_first_stays_where_fragments_overlap() -> None:
    first = udp(BODY, sport=1111)
    second = udp(BODY, sport=2222)
    parts = [fragments4(first, 400)[0], fragments4(second, 408)[0], *fragments4(first, 400)[1:]]

    found, counts = decode(parts, RAW)

    assert [(row.packet, row.sport, row.ip_len) for row in found] == [(3, 1111, 1028)]
    assert counts == {"fragment_pending": 3}


def test_duplicates_begin_another_datagram_once_it_is_complete() -> None:
    found, counts = decode([*PARTS4, PARTS4[2], PARTS4[0], PARTS4[0], PARTS4[1]], RAW)

    assert found == [ROW4, ROW4._replace(packet=6)]
    assert counts == {"fragment_pending": 5}


def test_datagrams_are_told_apart_by_addresses_and_identification() -> None:
    groups = [fragments4(udp(BODY, i), 400, ident=i % 4, src=f"10.0.{i // 4}.1") for i in range(40)]
    mixed = [groups[i][j] for j in range(3) for i in range(40)]
    shuffled = list(range(120))
    random.Random(5).shuffle(shuffled)

    assert [row.sport for row in decode(mixed, RAW)[0]] == list(range(40))
    assert {row.sport for row in decode([mixed[i] for i in shuffled], RAW)[0]} == set(range(40))


def test_an_ipv6_packet_may_be_its_only_fragment() -> None:
    alone = ipv6(bytes([UDP]) + fragment_header(0, False) + udp(b"abc"), 44)

    assert decode([alone], RAW) == ([Row(0, UDP, A6, 40000, B6, 53, 51, 3)], {})


def test_ipv6_headers_before_and_after_the_fragment_header() -> None:
    body = bytes([UDP]) + extension() + udp(b"abcde")
    parts = [
        ipv6(bytes([60]) + fragment_header(0, True) + body[:16], 44, extensions=[(0, extension())]),
        ipv6(
            bytes([60]) + fragment_header(16, False) + body[16:], 44, extensions=[(0, extension())]
        ),
    ]

    assert decode(parts[::-1], RAW) == (
        [Row(1, UDP, A6, 40000, B6, 53, 40 + 8 + 8 + 13, 5)],
        {"fragment_pending": 1},
    )


def test_tunnels_in_fragments_and_fragments_in_tunnels() -> None:
    inner = ipv4(tcp(bytes(500)), src="172.16.0.1")
    outer = fragments4(udp(vxlan(ethernet(inner)), 1, 4789), 240)
    inside = [ipv4(gre(part), GRE) for part in PARTS4]

    found, counts = decode([*outer, *inside], RAW)

    size = 28 + 8 + 14 + 540
    assert found == [
        Row(2, UDP, A4, 1, B4, 4789, size, size - 28),
        Row(2, TCP, "172.16.0.1", 40000, B4, 443, 540, 500),
        ROW4._replace(packet=5),
    ]
    assert counts == {"fragment_pending": 4}


def test_a_first_fragment_that_was_cut_is_a_datagram_of_its_own() -> None:
    packets = batch([part[:80] for part in PARTS4], RAW, wire=[len(part) for part in PARTS4])
    decoder = Decoder()

    decoded = decoder.decode(packets)

    assert rows(decoded) == [Row(0, UDP, A4, 40000, B4, 53, 420, 1000)]
    assert decoder.counts == {"truncated_fragment": 2}


def test_a_datagram_is_given_up_after_five_minutes() -> None:
    decoder = Decoder()
    late = fragments.TIMEOUT_US

    assert len(decoder.decode(batch(PARTS4[:2], RAW, times=[0, 5]))) == 0
    assert len(decoder.decode(batch([PARTS4[2], *PARTS6], RAW, times=[late] * 4))) == 1
    assert decoder.counts == {"fragment_pending": 5, "fragment_timeout": 1}
    assert len(decoder.decode(batch(PARTS4[:2], RAW, times=[late + 9] * 2))) == 1


def test_others_are_given_up_when_time_passes() -> None:
    decoder = Decoder()

    decoder.decode(batch(PARTS4[:2], RAW))
    decoder.decode(batch(PARTS6, RAW, times=[fragments.TIMEOUT_US + 9] * 3))

    assert decoder.counts == {"fragment_pending": 4, "fragment_timeout": 1}


def test_incomplete_datagrams_are_bounded_and_the_oldest_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fragments, "MAX_PENDING", 10)
    decoder = Decoder()
    groups = [fragments4(udp(BODY, i), 800, ident=i) for i in range(30)]

    decoder.decode(batch([first for first, _ in groups], RAW))
    found = decoder.decode(batch([last for _, last in groups], RAW))

    assert found.sport.tolist() == list(range(20, 30))
    assert decoder.counts == {"fragment_pending": 50, "fragment_overflow": 30}


def test_their_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fragments, "MAX_PENDING_BYTES", 2000)
    decoder = Decoder()

    decoder.decode(batch([fragments4(udp(BODY), 800, ident=i)[0] for i in range(5)], RAW))

    assert decoder.counts == {"fragment_pending": 5, "fragment_overflow": 3}


def test_datagrams_that_are_too_long_are_dropped() -> None:
    starts = range(0, 65600, 800)
    parts = [ipv4(bytes(800), UDP, fragment=0x2000 | start // 8) for start in starts[:-1]]
    parts.append(ipv4(bytes(800), UDP, fragment=starts[-1] // 8))

    assert decode(parts, RAW) == ([], {"fragment_pending": 81, "bad_fragment": 1})


def test_lengths_of_zero_cannot_be_reassembled() -> None:
    frames = [ipv4(bytes(80), UDP, fragment=0x2000, total=0)]

    assert decode(frames, RAW) == ([], {"bad_fragment": 1})


def test_fragments_of_fragments_end() -> None:
    nested = (
        bytes([44]) + fragment_header(0, False) + bytes([UDP]) + fragment_header(0, False) + udp()
    )

    assert decode([ipv6(nested, 44)], RAW) == ([], {"nested_fragment": 1})


def test_checksums_of_reassembled_datagrams_are_verified() -> None:
    wrong = [*PARTS6[:2], PARTS6[2][:-1] + b"\0"]
    for parts, expected in ((PARTS4, 1), (PARTS6, 1), (wrong, 0)):
        decoder = Decoder(verify_checksums=True)

        assert len(decoder.decode(batch(parts, RAW))) == expected
        assert decoder.counts.get("bad_checksum", 0) == 1 - expected


@given(
    size=st.integers(1, 60).map(lambda units: units * 8),
    body=st.binary(min_size=1, max_size=600),
    seed=st.randoms(use_true_random=False),
    cuts=st.lists(st.integers(1, 200), max_size=3),
    six=st.booleans(),
)
def test_any_order_and_any_batches_give_the_same_row(
    size: int, body: bytes, seed: random.Random, cuts: list[int], six: bool
) -> None:
    segment = udp(body)
    parts = (fragments6 if six else fragments4)(segment, size)
    if len(parts) == 1 and not six:
        return
    seed.shuffle(parts)
    decoder = Decoder()
    bounds = [0, *sorted(min(cut, len(parts)) for cut in cuts), len(parts)]

    found = [
        row
        for start, stop in itertools.pairwise(bounds)
        for row in rows(decoder.decode(batch(parts[start:stop], RAW)))
    ]

    assert [(row.sport, row.dport, row.payload, row.ip_len) for row in found] == [
        (40000, 53, len(body), (40 if six else 20) + len(segment))
    ]


def test_a_flood_of_incomplete_datagrams_is_held_within_bounds() -> None:
    many = [ipv4(bytes(8), UDP, ident=i, fragment=0x2000 | 8191) for i in range(3000)]
    one = [ipv4(bytes(8), UDP, ident=1, fragment=0x2000 | (i * 7919) % 8192) for i in range(3000)]
    decoder = Decoder()

    for _ in range(3):
        decoder.decode(batch([*many, *one], RAW))

    assert decoder.counts == {"fragment_pending": 18000}
