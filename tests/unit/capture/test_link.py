"""Link layers: every one that is known leads to the same IP datagram."""

from __future__ import annotations

import numpy as np
import pytest

from mtc_sensor.capture.decode import KNOWN_LINKS, Decoder
from mtc_sensor.capture.link import MAX_LINK_HEADERS
from tests.unit.capture.decoded import Row, decode, rows
from tests.unit.capture.frames import (
    A4,
    A6,
    ARP,
    B4,
    B6,
    IP6,
    MPLS,
    PPPOE,
    TCP,
    VLAN,
    batch,
    ethernet,
    ipv4,
    ipv6,
    mpls,
    null,
    pppoe,
    sll,
    sll2,
    snap,
    tcp,
    vlan,
)

V4 = ipv4(tcp(b"hello"))
V6 = ipv6(tcp(b"hello"))
ROW4 = Row(0, TCP, A4, 40000, B4, 443, 45, 5)
ROW6 = Row(0, TCP, A6, 40000, B6, 443, 65, 5)


def _mac(frame: bytes) -> bytes:
    return ethernet(b"", 0)[:12] + frame


FRAMES = {
    "ethernet": (1, ethernet(V4), ROW4),
    "ethernet with a trailer": (1, ethernet(V4) + bytes(9), ROW4),
    "ethernet, IPv6": (1, ethernet(V6, IP6), ROW6),
    "802.1Q": (1, ethernet(vlan(V4), VLAN), ROW4),
    "802.1ad and 802.1Q": (1, ethernet(vlan(vlan(V6, IP6), VLAN), 0x88A8), ROW6),
    "802.1Q 0x9100": (1, ethernet(vlan(vlan(V4), 0x9100), 0x9100), ROW4),
    "the most tags": (1, ethernet(vlan(b"", VLAN) * 21 + vlan(V4), VLAN), ROW4),
    "MPLS": (1, ethernet(mpls(V4), MPLS), ROW4),
    "MPLS, 3 labels, IPv6": (1, ethernet(mpls(V6, 3), 0x8848), ROW6),
    "802.1Q and MPLS": (1, ethernet(vlan(mpls(V4, 2), MPLS), VLAN), ROW4),
    "PPPoE": (1, ethernet(pppoe(V4), PPPOE), ROW4),
    "PPPoE, IPv6, 802.1Q, trailer": (
        1,
        ethernet(vlan(pppoe(V6, 0x57), PPPOE), VLAN) + bytes(4),
        ROW6,
    ),
    "SNAP": (1, ethernet(snap(V4), len(snap(V4))), ROW4),
    "SNAP, 4 bytes of LLC": (1, ethernet(snap(V4, control=b"\0\0"), 1000), ROW4),
    "802.1Q and SNAP": (1, ethernet(vlan(snap(V6, IP6), len(snap(V6))), VLAN), ROW6),
    "VN-Tag": (1, ethernet(bytes(4) + VLAN.to_bytes(2, "big") + vlan(V4), 0x8926), ROW4),
    "PBB": (1, ethernet(bytes(4) + ethernet(V4), 0x88E7), ROW4),
    "FabricPath": (1, _mac(b"\x89\x03" + bytes(2) + ethernet(V4)), ROW4),
    "raw 12": (12, V4, ROW4),
    "raw 14": (14, V6, ROW6),
    "raw 101": (101, V4, ROW4),
    "raw IPv4": (228, V4, ROW4),
    "raw IPv6": (229, V6, ROW6),
    "cooked": (113, sll(V4), ROW4),
    "cooked, IPv6": (113, sll(V6, IP6), ROW6),
    "cooked, 802.1Q": (113, sll(vlan(V4), VLAN), ROW4),
    "cooked v2": (276, sll2(V4), ROW4),
    "cooked v2, IPv6": (276, sll2(V6, IP6), ROW6),
    "null": (0, null(V4), ROW4),
    "null, big-endian": (0, null(V4, order=">"), ROW4),
    "null, macOS IPv6": (0, null(V6, 30), ROW6),
    "null, FreeBSD IPv6": (0, null(V6, 28), ROW6),
    "loop": (108, null(V4, order=">"), ROW4),
}
"""Frames that every test of the decoder may use, with their link type and only row."""


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_leads_to_its_datagram(name: str) -> None:
    link, frame, row = FRAMES[name]

    assert decode([frame], link) == ([row], {})


def test_link_types_may_be_mixed_in_a_batch() -> None:
    links = [link for link, _, _ in FRAMES.values()]
    expected = [row._replace(packet=i) for i, (_, _, row) in enumerate(FRAMES.values())]

    assert decode([frame for _, frame, _ in FRAMES.values()], links) == (expected, {})


def test_every_known_link_type_is_tried() -> None:
    assert {link for link, _, _ in FRAMES.values()} == KNOWN_LINKS


def test_packets_of_unknown_link_types_are_counted() -> None:
    found, counts = decode([V4, ethernet(V4), V4], [105, 1, 147])

    assert found == [ROW4._replace(packet=1)]
    assert counts == {"unknown_link": 2}


@pytest.mark.parametrize(
    ("reason", "link", "frame"),
    [
        ("not_ip", 1, ethernet(bytes(46), ARP)),
        ("not_ip", 1, ethernet(bytes(46), 0x88CC)),
        ("not_ip", 1, ethernet(b"\x42\x42\x03" + bytes(40), 43)),
        ("not_ip", 1, ethernet(b"\xff\xff" + V4, 60)),
        ("not_ip", 1, ethernet(snap(V4, oui=0x00000C), 60)),
        ("not_ip", 1, ethernet(snap(V4, ethertype=40), 60)),
        ("not_ip", 1, ethernet(V4, 1501)),
        ("not_ip", 1, ethernet(pppoe(V4, 0xC021), PPPOE)),
        ("not_ip", 113, sll(V4, 4)),
        ("not_ip", 276, sll2(bytes(28), ARP)),
        ("not_ip", 0, null(V4, 7)),
        ("unknown_ip_version", 101, b"\x70" + V4[1:]),
        ("link_depth", 1, ethernet(vlan(b"", VLAN) * MAX_LINK_HEADERS + vlan(V4), VLAN)),
        ("link_depth", 1, ethernet(mpls(V4, MAX_LINK_HEADERS + 1), MPLS)),
        ("truncated_link", 1, ethernet(V4)[:16]),
        ("truncated_link", 1, ethernet(vlan(b"", VLAN), VLAN)),
        ("truncated_link", 1, ethernet(mpls(b"", 2), MPLS)),
        ("truncated_link", 1, ethernet(pppoe(b""), PPPOE)),
        ("truncated_link", 1, ethernet(snap(b"")[:7], 7)),
        ("truncated_link", 113, sll(b"")),
        ("truncated_link", 276, sll2(b"")),
        ("truncated_link", 0, null(b"")),
    ],
)
def test_what_gives_no_row_is_counted_once(reason: str, link: int, frame: bytes) -> None:
    assert decode([frame], link) == ([], {reason: 1})


def test_lengths_of_802_3_and_pppoe_end_the_frame() -> None:
    """Zeek lets a longer IP packet pass here if the frame has the bytes."""
    short = (
        ethernet(snap(V4), len(snap(V4)) - 1),
        ethernet(pppoe(V4)[:4] + b"\0\x20" + pppoe(V4)[6:], PPPOE),
    )

    assert decode(short) == ([], {"ip_beyond_frame": 2})


def test_an_empty_batch_gives_no_rows() -> None:
    assert rows(Decoder().decode(batch([]))) == []
    assert Decoder().decode(batch([])).src.shape == (0, 16)


def test_known_links_are_a_set_of_numbers() -> None:
    assert {0, 1, 101, 113, 276} <= KNOWN_LINKS
    assert 105 not in KNOWN_LINKS
    assert np.int32(1) in KNOWN_LINKS
