"""IP headers, by Zeek's rules."""

from __future__ import annotations

import struct

import pytest

from mtc_sensor.capture.decode import Decoder
from mtc_sensor.capture.extensions import MAX_EXTENSIONS
from tests.unit.capture.decoded import Row, decode, rows
from tests.unit.capture.frames import (
    A4,
    A6,
    B4,
    B6,
    ICMPV6,
    TCP,
    UDP,
    batch,
    ethernet,
    extension,
    icmp,
    ipv4,
    ipv6,
    packed,
    tcp,
    udp,
)

RAW = 101
FINAL = "2001:db8:f::f"
HOME = "2001:db8:e::e"
ROW4 = Row(0, TCP, A4, 40000, B4, 443, 45, 5)
ROW6 = Row(0, TCP, A6, 40000, B6, 443, 65, 5)
HELLO = tcp(b"hello")


def _routing(kind: int, left: int, addresses: int) -> bytes:
    return extension(bytes([kind, left]) + bytes(4) + packed(FINAL) * addresses)


def _option(kind: int, body: bytes) -> bytes:
    return bytes([kind, len(body)]) + body


@pytest.mark.parametrize("options", [b"", b"\x01" * 4, b"\x94\x04\0\0", b"\x01" * 20, b"\x01" * 40])
def test_ipv4_options_are_passed(options: bytes) -> None:
    assert decode([ipv4(HELLO, options=options)], RAW) == (
        [ROW4._replace(ip_len=45 + len(options))],
        {},
    )


@pytest.mark.parametrize(
    ("chain", "row"),
    [
        ([(0, extension())], ROW6),
        ([(0, extension(bytes(20))), (60, extension()), (43, _routing(0, 0, 1))], ROW6),
        ([(51, bytes([4]) + bytes(22))], ROW6),
        ([(43, _routing(0, 1, 2))], ROW6._replace(dst=FINAL)),
        ([(43, _routing(2, 1, 1))], ROW6._replace(dst=FINAL)),
        ([(43, _routing(2, 1, 2))], ROW6),
        ([(43, _routing(4, 1, 1))], ROW6),
        (
            [(43, _routing(2, 1, 1)), (43, extension(bytes([0, 1]) + bytes(20)))],
            ROW6._replace(dst=FINAL),
        ),
        (
            [(60, extension(b"\0\0" + _option(1, b"\0\0") + _option(201, packed(HOME))))],
            ROW6._replace(src=HOME),
        ),
        ([(60, extension(_option(201, packed(HOME)[:8])))], ROW6),
        ([(60, extension(_option(201, bytes(40))[:20]))], ROW6),
        ([(0, extension())] * MAX_EXTENSIONS, ROW6),
    ],
)
def test_ipv6_extension_headers_are_walked(chain: list[tuple[int, bytes]], row: Row) -> None:
    size = sum(1 + len(body) for _, body in chain)

    assert decode([ipv6(HELLO, extensions=chain)], RAW) == ([row._replace(ip_len=65 + size)], {})


@pytest.mark.parametrize(
    ("reason", "packet"),
    [
        ("other_protocol", ipv6(HELLO, extensions=[(0, extension())] * (MAX_EXTENSIONS + 1))),
        ("other_protocol", ipv6(HELLO, extensions=[(50, bytes(7))])),
        ("other_protocol", ipv6(HELLO, extensions=[(135, extension(bytes(6)))])),
        ("other_protocol", ipv6(b"", 59)),
        ("other_protocol", ipv6(bytes([6, 200]), 0)),
        ("other_protocol", ipv4(bytes(20), 132)),
        ("other_protocol", ipv4(bytes(8), 50)),
        ("truncated_ip", ipv4(b"")[:19]),
        ("truncated_ip", ipv6(b"")[:39]),
        ("unknown_ip_version", b"\x55" + bytes(30)),
        ("bad_ip_header", b"\x44" + ipv4(HELLO)[1:]),
        ("bad_ip_header", b"\x4f" + ipv4(HELLO)[1:]),
        ("bad_ip_header", ipv4(HELLO, total=19)),
        ("bad_ip_header", ipv6(HELLO, length=0, extensions=[(0, extension())])),
        ("ip_beyond_frame", ipv4(HELLO, total=46)),
        ("ip_beyond_frame", ipv6(HELLO, length=26)),
    ],
)
def test_what_gives_no_row_is_counted_once(reason: str, packet: bytes) -> None:
    assert decode([packet], RAW) == ([], {reason: 1})


def test_a_length_of_zero_is_what_offloading_leaves() -> None:
    frames = [ethernet(ipv4(HELLO, total=0)), ethernet(ipv4(udp(b"abc"), UDP, total=0))]

    assert decode(frames) == (
        [ROW4._replace(ip_len=0), Row(1, UDP, A4, 40000, B4, 53, 0, 3)],
        {},
    )


def test_an_ipv6_length_of_zero_leaves_udp_and_icmp_but_no_tcp() -> None:
    frames = [
        ipv6(HELLO, length=0),
        ipv6(udp(b"abc"), UDP, length=0),
        ipv6(icmp(128), ICMPV6, length=0),
    ]

    assert decode(frames, RAW) == (
        [Row(1, UDP, A6, 40000, B6, 53, 40, 3), Row(2, ICMPV6, A6, 128, B6, 129, 40, 0)],
        {"bad_tcp_header": 1},
    )


def test_a_trailer_is_not_captured_ip() -> None:
    decoded = Decoder().decode(batch([ethernet(ipv4(HELLO)) + b"trailer"]))

    assert decoded.ip_captured.tolist() == [45]
    assert decoded.l4_offset.tolist() == [20]


def test_a_header_that_says_no_payload_makes_the_trailer_the_transport_header() -> None:
    """As in Zeek; the row then has no transport header of its own."""
    frame = ethernet(ipv4(b"", UDP)) + struct.pack(">HHHH", 5, 6, 8, 0) + bytes(18)

    decoded = Decoder().decode(batch([frame]))

    assert rows(decoded) == [Row(0, UDP, A4, 5, B4, 6, 20, 0)]
    assert (decoded.ip_captured.tolist(), decoded.l4_offset.tolist()) == ([20], [0])


def test_where_headers_lie() -> None:
    frames = [
        ethernet(ipv4(HELLO, options=bytes(8))),
        ethernet(ipv6(HELLO, extensions=[(0, extension())]), 0x86DD),
    ]
    packets = batch(frames)

    decoded = Decoder().decode(packets)

    assert (decoded.ip_offset - packets.offset).tolist() == [14, 14]
    assert decoded.l4_offset.tolist() == [28, 48]
    assert decoded.ip_captured.tolist() == [53, 73]
    assert decoded.ts_us.tolist() == [0, 1]


def test_a_capture_may_keep_less_than_the_datagram() -> None:
    whole = ethernet(ipv4(tcp(bytes(1000))))
    packets = batch([whole[:60]], wire=[len(whole)])
    decoder = Decoder()

    decoded = decoder.decode(packets)

    assert rows(decoded) == [Row(0, TCP, A4, 40000, B4, 443, 1040, 1000)]
    assert decoded.ip_captured.tolist() == [46]
    assert decoder.counts == {}
