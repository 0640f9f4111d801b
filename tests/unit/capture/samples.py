"""One sample of everything that the decoder knows, with its link type."""

from __future__ import annotations

from tests.unit.capture.frames import (
    ICMP,
    ICMPV6,
    TCP,
    UDP,
    ethernet,
    extension,
    fragment_header,
    fragments4,
    fragments6,
    icmp,
    ipv4,
    ipv6,
    packed,
    tcp,
    udp,
)
from tests.unit.capture.test_link import FRAMES
from tests.unit.capture.test_tunnels import IN_IP, IN_UDP

_HOME = b"\xc9\x10" + packed("2001:db8:e::e")
_CHAIN = [
    (0, extension()),
    (60, extension(_HOME)),
    (43, extension(bytes([0, 1]) + bytes(4) + packed("2001:db8:f::f"))),
    (51, bytes([4]) + bytes(22)),
]

SAMPLES: list[tuple[int, bytes]] = [
    *((link, frame) for link, frame, _ in FRAMES.values()),
    *((101, packet) for packet, _ in IN_IP.values()),
    *((101, ipv4(udp(payload, 1, port), UDP)) for port, payload, _ in IN_UDP.values()),
    (1, ethernet(ipv4(tcp(b"payload", options=b"\x01" * 12), options=b"\x01" * 8)) + bytes(4)),
    (1, ethernet(ipv4(udp(b"payload"), UDP, total=0))),
    (1, ethernet(ipv4(icmp(), ICMP))),
    (101, ipv6(icmp(128), ICMPV6)),
    (101, ipv6(tcp(b"payload"), TCP, extensions=_CHAIN)),
    (101, ipv6(bytes([UDP]) + fragment_header(0, False) + udp(b"alone"), 44)),
    *((101, part) for part in fragments4(udp(bytes(100)), 48)),
    *((101, part) for part in fragments6(udp(bytes(100)), 48)),
]
