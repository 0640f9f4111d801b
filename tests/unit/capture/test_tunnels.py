"""Tunnels, as Zeek's default scripts follow them."""

from __future__ import annotations

import struct

import pytest

from mtc_sensor.capture.decode import Decoder
from mtc_sensor.capture.tunnels import MAX_DEPTH
from tests.unit.capture.decoded import Row, decode, rows
from tests.unit.capture.frames import (
    A4,
    A6,
    B4,
    B6,
    GRE,
    IP6,
    IPIP,
    IPV6,
    TCP,
    UDP,
    ayiya,
    batch,
    ethernet,
    geneve,
    gre,
    gtp,
    ipv4,
    ipv6,
    pptp,
    tcp,
    teredo,
    udp,
    vlan,
    vxlan,
)

RAW = 101
IN4 = ipv4(tcp(b"in"), src="172.16.0.1", dst="172.16.0.2")
IN6 = ipv6(tcp(b"in"), src="2001:0:1::1", dst="2001:0:2::2")
ROW4 = Row(0, TCP, "172.16.0.1", 40000, "172.16.0.2", 443, 42, 2)
ROW6 = Row(0, TCP, "2001:0:1::1", 40000, "2001:0:2::2", 443, 62, 2)
FRAME4 = ethernet(IN4)
FRAME6 = ethernet(vlan(IN6, IP6), 0x8100)

IN_IP = {
    "IP in IP": (ipv4(IN4, IPIP), ROW4),
    "6in4": (ipv4(IN6, IPV6), ROW6),
    "4in6": (ipv6(IN4, IPIP), ROW4),
    "6in6": (ipv6(IN6, IPV6), ROW6),
    "GRE": (ipv4(gre(IN4), GRE), ROW4),
    "GRE, IPv6": (ipv6(gre(IN6, IP6), GRE), ROW6),
    "GRE, any protocol, checksum, key, sequence": (
        ipv4(gre(IN4, 0x1234, flags=0xB000, fields=bytes(12)), GRE),
        ROW4,
    ),
    "GRE, acknowledgement": (ipv4(gre(IN4, flags=0x0080, fields=bytes(4)), GRE), ROW4),
    "GRE, Ethernet": (ipv4(gre(FRAME6, 0x6558), GRE), ROW6),
    "ERSPAN I": (ipv4(gre(FRAME4, 0x88BE), GRE), ROW4),
    "ERSPAN II": (ipv4(gre(FRAME4, 0x88BE, flags=0x1000, fields=bytes(4 + 8)), GRE), ROW4),
    "ERSPAN III": (ipv4(gre(FRAME6, 0x22EB, flags=0x1000, fields=bytes(4 + 12)), GRE), ROW6),
    "ERSPAN III, subheader": (
        ipv4(gre(FRAME4, 0x22EB, fields=bytes(11) + b"\1" + bytes(8)), GRE),
        ROW4,
    ),
    "PPTP": (ipv4(pptp(IN4), GRE), ROW4),
    "PPTP, sequence, acknowledgement": (
        ipv4(pptp(IN6, 0x57, (0x1080, bytes(8))), GRE),
        ROW6,
    ),
}

IN_UDP = {
    "VXLAN": (4789, vxlan(FRAME4), ROW4),
    "VXLAN, IPv6 and a tag": (4789, vxlan(FRAME6), ROW6),
    "Geneve": (6081, geneve(FRAME4), ROW4),
    "Geneve, options": (6081, geneve(FRAME6, options=bytes(12)), ROW6),
    "Geneve, IP": (6081, geneve(IN4, 0x0800), ROW4),
    "Geneve, IPv6": (6081, geneve(IN6, 0x86DD), ROW6),
    "Teredo": (3544, teredo(IN6), ROW6),
    "Teredo, origin": (3544, teredo(IN6, origin=True), ROW6),
    "Teredo, authentication": (3544, teredo(IN6, authentication=b"id"), ROW6),
    "Teredo, both": (3544, teredo(IN6, authentication=b"", origin=True), ROW6),
    "Teredo, its prefix on any port": (7777, teredo(IN6), ROW6),
    "Teredo, origin on any port": (7777, teredo(IN6, authentication=b"abc", origin=True), ROW6),
    "GTP": (2152, gtp(IN4), ROW4),
    "GTP, sequence": (2152, gtp(IN6, 0x32, options=bytes(4)), ROW6),
    "GTP, extension headers": (
        2123,
        gtp(IN4, 0x34, options=bytes(3) + b"\x85" + b"\1\0\0\x85" + b"\2" + bytes(6) + b"\0"),
        ROW4,
    ),
    "AYIYA": (5072, ayiya(IN6), ROW6),
    "AYIYA on any port": (9999, ayiya(IN4, IPIP), ROW4),
    "GRE": (4754, gre(IN4), ROW4),
}


@pytest.mark.parametrize("name", IN_IP)
def test_tunnels_in_ip_leave_only_the_inner_row(name: str) -> None:
    packet, row = IN_IP[name]

    assert decode([packet], RAW) == ([row], {})


@pytest.mark.parametrize("name", IN_UDP)
@pytest.mark.parametrize("answer", [False, True])
def test_tunnels_in_udp_keep_the_outer_row(name: str, answer: bool) -> None:
    port, payload, row = IN_UDP[name]
    sport, dport = (port, 50000) if answer else (50000, port)
    packet = ipv4(udp(payload, sport, dport), UDP)
    outer = Row(0, UDP, A4, sport, B4, dport, 28 + len(payload), len(payload))

    assert decode([packet], RAW) == ([outer, row], {})


def test_rows_are_in_packet_order_and_outer_before_inner() -> None:
    tunnel = ipv4(udp(vxlan(FRAME4), 1, 4789), UDP)
    twice = ipv4(gre(ethernet(tunnel), 0x6558), GRE)
    frames = [tunnel, ipv4(tcp()), ipv4(IN6, IPV6), twice, ipv6(tcp())]

    found, counts = decode(frames, RAW)

    assert [(row.packet, row.proto) for row in found] == [
        (0, UDP),
        (0, TCP),
        (1, TCP),
        (2, TCP),
        (3, UDP),
        (3, TCP),
        (4, TCP),
    ]
    assert counts == {}


def test_inner_headers_are_found_where_they_lie() -> None:
    frame = ethernet(ipv4(udp(vxlan(FRAME4) + b"trailer", 1, 4789), UDP))
    packets = batch([frame])

    decoded = Decoder().decode(packets)

    assert (decoded.ip_offset - packets.offset).tolist() == [14, 14 + 28 + 8 + 14]
    assert decoded.l4_offset.tolist() == [20, 20]
    assert decoded.ip_captured.tolist() == [len(frame) - 14, len(IN4)]


@pytest.mark.parametrize(
    "packet",
    [
        ipv4(IN4[:-1], IPIP),
        ipv4(IN4 + b"x", IPIP),
        ipv4(IN4, IPV6),
        ipv4(IN6, IPIP),
        ipv4(b"\x45", IPIP),
        ipv4(gre(IN4)[:3], GRE),
        ipv4(gre(IN4, flags=2), GRE),
        ipv4(gre(IN4, flags=0x4000, fields=bytes(4)), GRE),
        ipv4(gre(IN4, flags=0x0008), GRE),
        ipv4(gre(IN4, 0x8200), GRE),
        ipv4(gre(b"", flags=0x2000), GRE),
        ipv4(gre(FRAME4[:14], 0x6558), GRE),
        ipv4(gre(bytes(12) + FRAME4[:14], 0x22EB), GRE),
        ipv4(gre(bytes(8) + FRAME4[:14], 0x88BE, flags=0x1000, fields=bytes(4)), GRE),
        ipv4(pptp(IN4 + b"x"), GRE),
        ipv4(pptp(IN4, 0xC021), GRE),
        ipv4(pptp(IN6, 0x21), GRE),
        ipv4(gre(IN4, flags=1, fields=bytes(4)), GRE),
    ],
)
def test_bad_tunnels_in_ip_give_no_row(packet: bytes) -> None:
    assert decode([packet], RAW) == ([], {"bad_tunnel": 1})


@pytest.mark.parametrize(
    ("port", "payload"),
    [
        (4789, vxlan(FRAME4, 0)),
        (4789, vxlan(b"")),
        (6081, b"\x40" + geneve(FRAME4)[1:]),
        (6081, geneve(b"", options=bytes(4))),
        (6081, geneve(FRAME4, 0x8847)),
        (6081, b"\x3f" + geneve(FRAME4)[1:]),
        (3544, teredo(IN4)),
        (3544, teredo(IN6)[:-1]),
        (3544, teredo(IN6) + b"x"),
        (3544, struct.pack(">HBB", 1, 255, 255)),
        (3544, b""),
        (2152, gtp(IN4, 0x50)),
        (2152, gtp(IN4, 0x20)),
        (2152, gtp(IN4, kind=1)),
        (2152, gtp(IN4 + b"x")),
        (2152, gtp(IN4, 0x34, options=bytes(3) + b"\x85" + bytes(4))),
        (2152, gtp(IN4, 0x34, options=bytes(4) + b"\x01\0\0\x01" * 17)),
        (5072, ayiya(IN6, opcode=2)),
        (5072, ayiya(IN6, 59)),
        (5072, ayiya(b"")),
    ],
)
def test_bad_tunnels_in_udp_leave_the_outer_row(port: int, payload: bytes) -> None:
    found, counts = decode([ipv4(udp(payload, 50000, port), UDP)], RAW)

    assert [row.dport for row in found] == [port]
    assert counts == {"bad_tunnel": 1}


@pytest.mark.parametrize(
    "payload",
    [
        ipv6(tcp()),
        teredo(IN6, authentication=b"id"),
        b"\0\0" + bytes(60),
        b"\0\1" + bytes(60),
        b"\x60" * 60,
    ],
)
def test_other_payloads_are_no_tunnel(payload: bytes) -> None:
    found, counts = decode([ipv4(udp(payload, 50000, 7777), UDP)], RAW)

    assert ([row.dport for row in found], counts) == ([7777], {})


def _nested(depth: int) -> bytes:
    packet = ipv6(tcp())
    for _ in range(depth):
        packet = ipv6(packet, IPV6)
    return packet


def test_tunnels_are_followed_as_deep_as_zeek_does() -> None:
    assert decode([_nested(MAX_DEPTH)], RAW) == ([Row(0, TCP, A6, 40000, B6, 443, 60, 0)], {})
    assert decode([_nested(MAX_DEPTH + 1)], RAW) == ([], {"tunnel_depth": 1})


def test_lost_bytes_count_inside_udp_but_not_inside_ip() -> None:
    """Zeek keeps the wire length through UDP tunnels only."""
    inner = ethernet(ipv4(tcp(bytes(500))))
    frames = [ipv4(udp(vxlan(inner), 1, 4789), UDP), ipv4(gre(inner, 0x6558), GRE)]
    decoder = Decoder()

    decoded = decoder.decode(
        batch([frame[:150] for frame in frames], RAW, wire=[len(frame) for frame in frames])
    )

    assert [(row.packet, row.ip_len) for row in rows(decoded)] == [(0, len(frames[0])), (0, 540)]
    assert decoder.counts == {"ip_beyond_frame": 1}
