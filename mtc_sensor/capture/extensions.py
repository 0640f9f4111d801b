"""IPv6 extension headers, walked for many packets at once (Zeek: IPv6_Hdr_Chain in src/IP.cc)."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from mtc_sensor.capture.layers import Bytes, Ints, u8

HOP_BY_HOP: Final = 0
IPV6: Final = 41
ROUTING: Final = 43
FRAGMENT: Final = 44
ESP: Final = 50
AUTHENTICATION: Final = 51
NO_NEXT: Final = 59
DESTINATION: Final = 60
MOBILITY: Final = 135

MAX_EXTENSIONS: Final = 16
"""Headers followed per packet, against packets made of nothing else; Zeek follows all."""
MAX_OPTIONS: Final = 16
"""Destination options per header that are searched for a home address."""

IS_EXTENSION: Final = np.zeros(256, np.bool_)
"""By protocol number."""
IS_EXTENSION[[HOP_BY_HOP, ROUTING, FRAGMENT, ESP, AUTHENTICATION, DESTINATION, MOBILITY]] = True
_UNIT: Final = np.zeros(256, np.int64)  # a header has 8 bytes and as many units as its length says
_UNIT[[HOP_BY_HOP, ROUTING, DESTINATION, MOBILITY]] = 8
_UNIT[AUTHENTICATION] = 4
_HOME_ADDRESS: Final = 201
_SRC_AT: Final = 8
_DST_AT: Final = 24


class Chain(NamedTuple):
    """The headers of ``n`` IPv6 packets up to the payload; places count from the IPv6 header."""

    header: Ints
    """(n,) length of all headers."""
    proto: Ints
    """(n,) the payload's protocol, or the extension header that the chain stops before."""
    last: Ints
    """(n,) protocol number of the last header; `IPV6` where there are no extensions."""
    named_at: Ints
    """(n,) where the byte lies that names the last header."""
    src_at: Ints
    """(n,) where the source lies: a home address option (RFC 6275) replaces it."""
    dst_at: Ints
    """(n,) where the destination lies: a routing header with segments left replaces it."""


def walk_extensions(data: Bytes, pos: Ints, captured: Ints) -> Chain:
    """Walk the headers of IPv6 packets, each with at least 40 bytes `captured` from `pos` on."""
    defaults = (40, 0, IPV6, 0, _SRC_AT, _DST_AT)
    chain = Chain(*(np.full(len(pos), value, np.int64) for value in defaults))
    chain.proto[:] = u8(data, pos + 6)
    next_at = np.full(len(pos), 6, np.int64)  # where the byte lies that names the next header
    rows = np.arange(len(pos))
    for _ in range(MAX_EXTENSIONS):
        rows = rows[IS_EXTENSION[chain.proto[rows]] & (captured[rows] - chain.header[rows] >= 2)]
        size = 8 + _UNIT[chain.proto[rows]] * u8(data, pos[rows] + chain.header[rows] + 1)
        fits = size <= captured[rows] - chain.header[rows]
        rows, size = rows[fits], size[fits]
        if not rows.size:
            break
        kind = chain.proto[rows]
        _final_destination(data, pos, chain, rows[kind == ROUTING], size[kind == ROUTING])
        _home_address(data, pos, chain, rows[kind == DESTINATION], size[kind == DESTINATION])
        chain.last[rows], chain.named_at[rows] = kind, next_at[rows]
        next_at[rows] = chain.header[rows]
        chain.proto[rows] = np.where(kind == ESP, NO_NEXT, u8(data, pos[rows] + next_at[rows]))
        chain.header[rows] += size
        rows = rows[(kind != FRAGMENT) & (kind != ESP) & (kind != MOBILITY)]
    chain.proto[chain.last == MOBILITY] = MOBILITY
    return chain


def _final_destination(data: Bytes, pos: Ints, chain: Chain, rows: Ints, size: Ints) -> None:
    """Take the address at the end of the first routing header of type 0 or 2 with segments left."""
    at = pos[rows] + chain.header[rows]
    kind, left = u8(data, at + 2), u8(data, at + 3)
    addresses = (size - 8) // 16
    whole = (size - 8) % 16 == 0
    usable = ((kind == 0) & (addresses >= 1) & whole) | ((kind == 2) & (addresses == 1) & whole)
    usable &= (left > 0) & (chain.dst_at[rows] == _DST_AT)
    chain.dst_at[rows[usable]] = (chain.header[rows] + size - 16)[usable]


def _home_address(data: Bytes, pos: Ints, chain: Chain, rows: Ints, size: Ints) -> None:
    at, end = chain.header[rows] + 2, chain.header[rows] + size
    for _ in range(MAX_OPTIONS):
        if not rows.size:
            return
        kind, length = u8(data, pos[rows] + at), u8(data, pos[rows] + at + 1)
        after = np.where(kind == 0, at + 1, at + 2 + length)
        found = (kind == _HOME_ADDRESS) & (length == 16) & (after <= end)
        found &= chain.src_at[rows] == _SRC_AT
        chain.src_at[rows[found]] = at[found] + 2
        more = ~found & (after < end)
        rows, at, end = rows[more], after[more], end[more]
