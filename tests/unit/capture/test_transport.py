"""Transport headers: what Zeek counts, and with which ports and lengths."""

from __future__ import annotations

import pytest

from mtc_sensor.capture.decode import Decoder
from tests.unit.capture.decoded import Row, decode, rows
from tests.unit.capture.frames import (
    A4,
    A6,
    B4,
    B6,
    ICMP,
    ICMPV6,
    IP6,
    TCP,
    UDP,
    batch,
    ethernet,
    icmp,
    ipv4,
    ipv6,
    tcp,
    udp,
    vxlan,
)

RAW = 101


def test_tcp_fields() -> None:
    packets = batch([ipv4(tcp(b"abc", 1, 65535, flags=0xC2)), ipv4(udp(b"x"), UDP)], RAW)

    decoded = Decoder().decode(packets)

    assert rows(decoded)[0] == Row(0, TCP, A4, 1, B4, 65535, 43, 3)
    assert decoded.tcp_seq.tolist() == [0x01020304, 0]
    assert decoded.tcp_ack.tolist() == [0xF0E0D0C0, 0]
    assert decoded.tcp_flags.tolist() == [0xC2, 0]


def test_tcp_options_are_no_payload() -> None:
    assert decode([ipv6(tcp(b"abc", options=b"\x01" * 40))], RAW)[0][0].payload == 3
    assert decode([ipv4(tcp(options=b"\x01" * 12))], RAW)[0][0].payload == 0


def test_udp_payload_is_what_its_own_header_says() -> None:
    frames = [ipv4(udp(b"abcd", length=length), UDP) for length in (12, 8, 0, 7, 60000)]

    assert [row.payload for row in decode(frames, RAW)[0]] == [4, 0, 0, 0, 59992]


@pytest.mark.parametrize(
    ("kind", "code", "counterpart", "one_way"),
    [
        (8, 0, 0, False),
        (0, 0, 8, False),
        (13, 0, 14, False),
        (14, 3, 13, False),
        (15, 0, 16, False),
        (10, 0, 9, False),
        (18, 0, 17, False),
        (3, 3, 3, True),
        (11, 1, 1, True),
        (128, 7, 7, True),
    ],
)
def test_icmp_ports(kind: int, code: int, counterpart: int, one_way: bool) -> None:
    decoded = Decoder().decode(batch([ipv4(icmp(kind, code), ICMP)], RAW))

    assert rows(decoded) == [Row(0, ICMP, A4, kind, B4, counterpart, 32, 0)]
    assert decoded.one_way.tolist() == [one_way]


@pytest.mark.parametrize(
    ("kind", "code", "counterpart", "one_way"),
    [
        (128, 0, 129, False),
        (129, 0, 128, False),
        (133, 0, 134, False),
        (136, 0, 135, False),
        (130, 0, 131, False),
        (140, 2, 139, False),
        (145, 0, 144, False),
        (1, 4, 4, True),
        (143, 0, 0, True),
    ],
)
def test_icmpv6_ports(kind: int, code: int, counterpart: int, one_way: bool) -> None:
    decoded = Decoder().decode(batch([ipv6(icmp(kind, code), ICMPV6)], RAW))

    assert rows(decoded) == [Row(0, ICMPV6, A6, kind, B6, counterpart, 52, 0)]
    assert decoded.one_way.tolist() == [one_way]


@pytest.mark.parametrize(
    ("reason", "packet"),
    [
        ("truncated_transport", ipv4(tcp()[:19])),
        ("truncated_transport", ipv4(b"")),
        ("truncated_transport", ipv4(udp()[:7], UDP)),
        ("truncated_transport", ipv6(icmp()[:7], ICMPV6)),
        ("bad_tcp_header", ipv4(tcp()[:12] + b"\x40" + tcp()[13:])),
        ("bad_tcp_header", ipv4(tcp()[:12] + b"\x60" + tcp()[13:])),
    ],
)
def test_headers_that_are_not_all_there_give_no_row(reason: str, packet: bytes) -> None:
    assert decode([packet], RAW) == ([], {reason: 1})


@pytest.mark.parametrize(
    ("packet", "kept", "reason"),
    [
        (ipv4(tcp(options=b"\x01" * 20)), 59, "bad_tcp_header"),
        (ipv4(tcp(options=b"\x01" * 20)), 39, "truncated_transport"),
        (ipv4(udp(b"abcdef"), UDP), 27, "truncated_transport"),
        (ipv4(icmp(payload=bytes(100)), ICMP), 127, "truncated_icmp"),
    ],
)
def test_headers_that_were_not_captured_give_no_row(packet: bytes, kept: int, reason: str) -> None:
    decoder = Decoder()

    assert len(decoder.decode(batch([packet[:kept]], RAW, wire=[len(packet)]))) == 0
    assert decoder.counts == {reason: 1}


WRONG = [
    pytest.param(
        packet[:at] + bytes([packet[at] ^ 1]) + packet[at + 1 :], reason, id=f"{name}-{at}"
    )
    for name, packet, places, reason in (
        ("header", ipv4(tcp(b"abc")), (1, 8, 19), "bad_ip_checksum"),
        ("tcp", ipv4(tcp(b"abc")), (20, 24, 36, 41, 42), "bad_checksum"),
        ("tcp6", ipv6(tcp(b"abcd")), (8, 39, 45, 61, 63), "bad_checksum"),
        ("udp", ipv4(udp(b"abc"), UDP), (21, 27, 30), "bad_checksum"),
        ("udp6", ipv6(udp(b"abc"), UDP), (20, 40, 50), "bad_checksum"),
        ("icmp", ipv4(icmp(), ICMP), (21, 31), "bad_checksum"),
        ("icmp6", ipv6(icmp(128), ICMPV6), (30, 50), "bad_checksum"),
    )
    for at in places
]


@pytest.mark.parametrize(("packet", "reason"), WRONG)
def test_wrong_checksums_drop_if_asked(packet: bytes, reason: str) -> None:
    decoder = Decoder(verify_checksums=True)

    assert len(decoder.decode(batch([packet], RAW))) == 0
    assert decoder.counts == {reason: 1}
    assert len(Decoder().decode(batch([packet], RAW))) == 1


def test_right_and_unknown_checksums_pass() -> None:
    long = ipv4(tcp(bytes(range(100))))
    tunnel = vxlan(ethernet(ipv6(tcp()), IP6))
    frames = [
        long[:60],
        ipv4(tcp(b"abc")),
        ipv4(tcp(b"abcd", options=b"\x01" * 4), options=b"\x01" * 8),
        ipv6(tcp(b"abc")),
        ipv4(udp(b"abc"), UDP) + b"\xff",
        ipv6(udp(b"abcd"), UDP),
        ipv4(icmp(), ICMP),
        ipv6(icmp(128), ICMPV6),
        ipv4(udp(b"abc"), UDP, check=False),
        ipv6(udp(tunnel, dport=4789), UDP, check=False),
    ]
    decoder = Decoder(verify_checksums=True)

    decoded = decoder.decode(
        batch(frames, RAW, wire=[len(long)] + [len(frame) for frame in frames[1:]])
    )

    assert decoder.counts == {}
    assert decoded.packet.tolist() == [*range(10), 9]


def test_udp_over_ipv6_needs_a_checksum() -> None:
    decoder = Decoder(verify_checksums=True)

    assert len(decoder.decode(batch([ipv6(udp(b"abc"), UDP, check=False)], RAW))) == 0
    assert decoder.counts == {"bad_checksum": 1}


def test_offloaded_lengths_fail_the_header_check() -> None:
    decoder = Decoder(verify_checksums=True)

    assert len(decoder.decode(batch([ipv4(tcp(), total=0)], RAW))) == 0
    assert decoder.counts == {"bad_ip_checksum": 1}
