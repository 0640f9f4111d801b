"""Byte matrices of literal datagrams, and what holds for any head whatever."""

import struct
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mtc_sensor.features.byte_matrix import byte_matrix, packet_bytes
from mtc_sensor.features.spec import MASKS, ByteMatrixSpec, Mask, PacketBytesSpec
from mtc_sensor.flow import FlowBatch
from tests.unit.features.build import Head, batch_of

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
Fields = dict[Mask, set[int]]

SYN = bytes.fromhex(
    "4510 003c 1c46 4000 4006 b1e6 c0a8 0168 c0a8 0001"  # IPv4, DF, TTL 64, TCP
    "d431 01bb 1122 3344 5566 7788 a002 faf0 91ab 0000"  # 54321 -> 443, data offset 10
    "0204 05b4 0402 080a 0011 2233 4455 6677 0103 0307"  # MSS, SACK permitted, timestamps, NOP, WS
)
QUIC = bytes.fromhex(
    "6ab1 2345 0014 1140 2001 0db8 0000 0000 0000 0000 0000 0001"  # IPv6, hop limit 64
    "2001 0db8 0000 0000 0000 0000 0000 0002"
    "c001 01bb 0014 abcd c300 0000 0108 0102 0304 0506"  # UDP and payload
)


def cells(head: Head, proto: int, *masks: Mask, width: int = 80) -> bytes:
    spec = ByteMatrixSpec(bytes=width, masks=masks)
    return bytes(byte_matrix(batch_of(heads=[[head]], proto=proto), spec)[0, 0])


@pytest.mark.parametrize(
    ("mask", "hidden"),
    [
        ("addresses", {*range(12, 20)}),
        ("ports", {*range(20, 24)}),
        ("checksums", {10, 11, 36, 37}),
        ("ip_id", {4, 5}),
        ("ip_options", set()),
        ("ttl", {8}),
        ("tcp_seq", {*range(24, 32)}),
        ("tcp_timestamps", {*range(48, 56)}),
        ("icmp_id", set()),
    ],
)
def test_each_mask_hides_its_fields_of_ipv4_and_tcp_only(mask: Mask, hidden: set[int]) -> None:
    expected = bytes(0 if at in hidden else byte for at, byte in enumerate(SYN)).ljust(80, b"\0")
    assert cells(Head(SYN, 20), TCP, mask) == expected


def test_ipv6_and_udp() -> None:
    expected = bytes.fromhex(
        "6ab0 0000 0014 1100" + "00" * 32 + "0000 0000 0014 0000 c300 0000 0108 0102 0304 0506"
    )
    assert QUIC[1] == 0xB1, "the traffic class shares a byte with the flow label"
    assert cells(Head(QUIC, 40), UDP, *MASKS) == expected.ljust(80, b"\0")


def test_ipv6_extension_headers_are_options() -> None:
    fragment = bytes.fromhex("1100 0001 dead beef")
    head = QUIC[:6] + b"\x2c" + QUIC[7:40] + fragment + QUIC[40:]
    assert cells(Head(head, 48), UDP, "ip_options") == (
        head[:40] + bytes(8) + head[48:] + bytes(80 - len(head))
    )


def test_ipv4_options_are_hidden() -> None:
    route = bytes.fromhex("8307 04c0 a801 0100")
    head = b"\x47" + SYN[1:20] + route + SYN[20:]
    assert (
        cells(Head(head, 28), TCP, "ip_options")[:32] == b"\x47" + SYN[1:20] + bytes(8) + SYN[20:24]
    )


@pytest.mark.parametrize(("proto", "kind"), [(ICMP, 8), (ICMP, 0), (ICMP6, 128), (ICMP6, 129)])
def test_icmp_echo_keeps_its_payload(proto: int, kind: int) -> None:
    ip, l4 = (SYN, 20) if proto == ICMP else (QUIC, 40)
    echo = bytes([kind, 0]) + b"\xaa\xbb" + b"\x12\x34\x00\x07" + b"abcdefgh"
    hidden = cells(Head(ip[:l4] + echo, l4), proto, *MASKS)[l4 : l4 + 16]
    assert hidden == bytes([kind, 0]) + bytes(6) + b"abcdefgh"


@pytest.mark.parametrize(("proto", "kind"), [(ICMP, 3), (ICMP, 5), (ICMP6, 1), (ICMP6, 135)])
def test_icmp_errors_lose_the_datagram_that_they_quote(proto: int, kind: int) -> None:
    ip, l4 = (SYN, 20) if proto == ICMP else (QUIC, 40)
    error = bytes([kind, 1, 0xAA, 0xBB, 0, 0, 0, 0]) + SYN[:28]
    assert cells(Head(ip[:l4] + error, l4), proto, "addresses")[l4:] == (
        error[:4].ljust(80 - l4, b"\0")
    )


def test_timestamps_beyond_the_header_are_payload() -> None:
    data = SYN[:32] + b"\x50" + SYN[33:40] + bytes.fromhex("080a 0011 2233 4455 6677")
    assert cells(Head(data, 20), TCP, "tcp_timestamps") == data.ljust(80, b"\0")
    cut = SYN[:32] + b"\x70" + SYN[33:40] + bytes.fromhex("0101 080a 0011 2233 4455 6677")
    assert cells(Head(cut, 20), TCP, "tcp_timestamps") == cut.ljust(80, b"\0")


def test_a_later_fragment_keeps_its_fixed_header_only() -> None:
    assert cells(Head(SYN, 0), TCP, "ttl") == (SYN[:8] + b"\0" + SYN[9:20]).ljust(80, b"\0")
    assert cells(Head(QUIC, 0), UDP, "ports") == QUIC[:40].ljust(80, b"\0")
    assert cells(Head(SYN, 0), TCP) == SYN.ljust(80, b"\0")


@pytest.mark.parametrize("head", [Head(b"\x00" + SYN[1:], 20), Head(b"\xf5" + SYN[1:], 20)])
def test_what_is_no_ip_is_hidden_whole(head: Head) -> None:
    assert cells(head, TCP, "ports") == bytes(80)


def test_rows_packets_and_padding() -> None:
    first = [Head(bytes([0x45, i]) + SYN[2:], 20) for i in range(9)]
    batch = batch_of(heads=[first, [], [Head(b"\x45", 20)]])
    matrix = byte_matrix(batch, ByteMatrixSpec(packets=3, bytes=2, masks=()))
    assert matrix.tolist() == [
        [[0x45, 0], [0x45, 1], [0x45, 2]],
        [[0, 0]] * 3,
        [[0x45, 0], [0, 0], [0, 0]],
    ]
    assert byte_matrix(FlowBatch.empty(), ByteMatrixSpec()).shape == (0, 8, 80)


def test_narrow_wide_and_dirty_heads() -> None:
    assert cells(Head(SYN, 20), TCP, width=30) == SYN[:30]
    narrow = batch_of(heads=[[Head(SYN, 20)]], width=33)
    assert byte_matrix(narrow, ByteMatrixSpec(masks=()))[0, 0].tobytes() == SYN[:33].ljust(
        80, b"\0"
    )
    wide = batch_of(heads=[[Head(SYN * 3, 20)]], width=160)
    assert byte_matrix(wide, ByteMatrixSpec(masks=()))[0, 0].tobytes() == (SYN * 2)[:80]
    wide.head_len[:] = 21
    assert byte_matrix(wide, ByteMatrixSpec(masks=()))[0, 0].tobytes() == SYN[:21].ljust(80, b"\0")
    wide.head_len[:] = 65535
    assert byte_matrix(wide, ByteMatrixSpec(masks=()))[0, 0].tobytes() == (SYN * 2)[:80]


def tcp_options(draw: st.DrawFn) -> tuple[bytes, set[int]]:
    """Draw well-formed TCP options; also say where a timestamp option's values are."""
    options, stamps = b"", set[int]()
    for kind in draw(st.lists(st.sampled_from(["nop", "mss", "stamps", "sack"]), max_size=4)):
        if kind == "stamps":
            stamps |= set(range(len(options) + 2, len(options) + 10))
        options += {
            "nop": b"\x01",
            "mss": b"\x02\x04\x05\xb4",
            "stamps": b"\x08\x0a" + draw(st.binary(min_size=8, max_size=8)),
            "sack": b"\x05\x0a" + draw(st.binary(min_size=8, max_size=8)),
        }[kind]
    return options + bytes(-len(options) % 4), stamps


@st.composite
def datagrams(draw: st.DrawFn) -> tuple[Head, int, Fields]:
    """Draw a datagram of random bytes in well-formed headers, and where its masked fields are."""
    fields: Fields = {mask: set() for mask in MASKS}
    six = draw(st.booleans())
    options = draw(st.integers(0, 4 if six else 10)) * (8 if six else 4)
    fixed = 40 if six else 20
    l4 = fixed + options
    ip = bytearray(draw(st.binary(min_size=l4, max_size=l4)))
    ip[0] = (6 << 4 | ip[0] & 15) if six else (4 << 4 | l4 // 4)
    fields["addresses"] = set(range(8, 40)) if six else set(range(12, 20))
    fields["ip_options"] = set(range(fixed, l4))
    fields["ttl"] = {7} if six else {8}
    fields["ip_id"] = {2, 3} if six else {4, 5}
    fields["checksums"] = set() if six else {10, 11}
    proto = draw(st.sampled_from([ICMP6 if six else ICMP, TCP, UDP]))
    payload = draw(st.binary(max_size=30))
    if proto == TCP:
        values, stamps = tcp_options(draw)
        header = bytearray(draw(st.binary(min_size=20, max_size=20)))
        header[12] = (20 + len(values)) // 4 << 4
        l4_data = bytes(header) + values
        fields["ports"], fields["tcp_seq"] = set(range(l4, l4 + 4)), set(range(l4 + 4, l4 + 12))
        fields["checksums"] |= {l4 + 16, l4 + 17}
        fields["tcp_timestamps"] = {l4 + 20 + at for at in stamps}
    elif proto == UDP:
        l4_data = draw(st.binary(min_size=8, max_size=8))
        fields["ports"] = set(range(l4, l4 + 4))
        fields["checksums"] |= {l4 + 6, l4 + 7}
    else:
        kind = draw(st.sampled_from([0, 3, 8, 11, 128, 129, 135]))
        l4_data = bytes([kind]) + draw(st.binary(min_size=7, max_size=7))
        fields["checksums"] |= {l4 + 2, l4 + 3}
        if kind in ((128, 129) if six else (0, 8)):
            fields["icmp_id"] = set(range(l4 + 4, l4 + 8))
        else:
            fields["addresses"] |= set(range(l4 + 4, 80))
    return Head((bytes(ip) + l4_data + payload)[:80], l4), proto, fields


masks_of = st.lists(st.sampled_from(MASKS), unique=True).map(tuple)


@settings(deadline=None)
@given(datagrams(), masks_of, st.randoms(use_true_random=False))
def test_masked_bytes_never_matter_and_all_others_are_kept(
    datagram: tuple[Head, int, Fields], masks: tuple[Mask, ...], random: Random
) -> None:
    head, proto, fields = datagram
    hidden = {at for mask in masks for at in fields[mask]}
    other = bytearray(head.data)
    for at in hidden & set(range(len(other))):
        other[at] = random.randint(0, 255)
    label = head.data[0] >> 4 == 6 and "ip_id" in masks
    if label:
        other[1] = other[1] & 0xF0 | random.randint(0, 15)
    expected = bytearray(
        0 if at in hidden else b for at, b in enumerate(head.data.ljust(80, b"\0"))
    )
    expected[1] &= 0xF0 if label else 0xFF
    if masks and head.l4 >= 80:  # more extension headers than the head holds
        expected[40:] = bytes(40)
    assert cells(head, proto, *masks) == bytes(expected)
    assert cells(Head(bytes(other), head.l4), proto, *masks) == bytes(expected)


@settings(deadline=None)
@given(
    st.binary(min_size=80, max_size=800),
    st.binary(min_size=40, max_size=40),
    st.sampled_from([ICMP, TCP, UDP, ICMP6, 0, 50, 255]),
    masks_of,
)
def test_any_bytes_lengths_and_positions(
    data: bytes, words: bytes, proto: int, masks: tuple[Mask, ...]
) -> None:
    k = len(data) // 80
    lengths, l4 = np.array(struct.unpack("20H", words), np.uint16).reshape(2, 10)[:, :k]
    heads = np.frombuffer(data[: k * 80], np.uint8).reshape(k, 80).copy()
    heads[:, 0] = heads[:, 0] & 0x2F | 0x40  # IPv4 or IPv6
    once = _matrices(heads, lengths, l4 % 100, proto, masks)
    kept = np.where(np.arange(80) < lengths[:, None], heads, 0)
    assert ((once == kept) | (once == 0) | (once == kept & 0xF0)).all()
    assert np.array_equal(_matrices(once, lengths, l4 % 100, proto, masks), once), (
        "only bytes that are kept decide which ones are hidden"
    )


def _matrices(
    heads: NDArray[np.uint8],
    lengths: NDArray[np.uint16],
    l4: NDArray[np.uint16],
    proto: int,
    masks: tuple[Mask, ...],
) -> NDArray[np.uint8]:
    batch = batch_of(heads=[[Head(bytes(head))] for head in heads], proto=proto)
    batch.head_len[:], batch.head_l4[:] = lengths, l4
    return byte_matrix(batch, ByteMatrixSpec(masks=masks))[:, 0]


def test_packets_have_the_same_bytes_as_in_a_matrix() -> None:
    flows = [[Head(SYN, 20), Head(SYN[:30], 20)], [], [Head(QUIC, 40)]]
    batch = batch_of(heads=flows, proto=[TCP, TCP, UDP])
    matrix = byte_matrix(batch, ByteMatrixSpec())
    packets = packet_bytes(batch, PacketBytesSpec(bytes=80), np.array([2, 0, 1, 1]))
    expected = np.stack([matrix[2, 0], matrix[0, 0], matrix[0, 1], matrix[0, 1]])
    np.testing.assert_array_equal(packets, expected)


def test_whole_packets_are_masked_and_filled_up() -> None:
    head = Head(SYN[:40] + b"\xa5" * 1400, 20)
    batch = batch_of(heads=[[head]], width=1500)
    found = packet_bytes(batch, PacketBytesSpec(), np.array([0]))
    assert found.shape == (1, 1500)
    assert (found[0, 60:1440] == 0xA5).all()
    assert not found[0, 1440:].any()
    assert not found[0, 12:24].any()  # addresses, ports


def test_wide_heads_give_the_matrix_of_narrow_ones() -> None:
    extended = Head(bytes([0x60, *range(1, 6), 60, 64, *range(100)] * 3)[:200], 88)
    for head in (extended, Head(SYN + bytes(range(100)), 20)):
        narrow, wide = (batch_of(heads=[[head]], width=width) for width in (80, 1500))
        spec = ByteMatrixSpec(masks=("ports",))
        np.testing.assert_array_equal(byte_matrix(narrow, spec), byte_matrix(wide, spec))
