"""DNS over UDP: Zeek's analyzer ends and flips connections (src/analyzer/protocol/dns/DNS.cc).

It is the one application protocol whose analyzer does so in ordinary traffic. Here the responder's
port stands for the analyzer; what Zeek recognises as DNS on other ports is not followed. Zeek
counts the response that flips a connection for the wrong side, which is not followed either.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._jit import inline, inner
from mtc_sensor.capture._roles import is_multicast
from mtc_sensor.capture._tcp import flip, port_of

SESSION = 4
"""Value of CONNECTION.ending, after those of `_tcp`."""

PORTS = (53, 137, 5353, 5355)
NETBIOS_PORT = 137
SESSION_TIMEOUT_US = 10_000_000  # dns_session_timeout
IDLE_US = 9_000_000

_UDP_HEADER, _DNS_HEADER = 8, 12
_QUERY, _NOTIFY, _UPDATE = 0, 4, 5


@inline
def is_dns(c: Any, proto: int) -> bool:
    """Tell whether Zeek would give a new connection its DNS analyzer."""
    return proto == 17 and port_of(c, 1 - c.flip) in PORTS


@inline
def start(c: Any, now: int) -> None:
    """Begin to follow a new connection."""
    c.ending = SESSION
    c.due = now + SESSION_TIMEOUT_US
    c.dns_first = 1


@inline
def keep_alive(c: Any, now: int) -> None:
    """Put off the end of a session that is found active when it is looked at (ExpireTimer)."""
    if c.due <= now and now - c.last < IDLE_US:
        c.due = now + SESSION_TIMEOUT_US


@inner
def follow(c: Any, side: int, packet: Any, data: NDArray[np.uint8]) -> None:
    """Flip a connection whose first message is the originator's response (ParseMessage)."""
    message = packet.ip_offset + packet.l4_offset + _UDP_HEADER
    captured = packet.ip_captured - packet.l4_offset - _UDP_HEADER
    if packet.l4_offset == 0 or captured < _DNS_HEADER:
        return
    flags = data[message + 2]
    known = ((flags >> 3) & 15) in (_QUERY, _NOTIFY, _UPDATE)
    if not known and port_of(c, 1 - c.flip) != NETBIOS_PORT:
        return
    c.dns_first = 0
    if flags & 0x80 and side == c.flip and not is_multicast(packet.dst):
        flip(c)
