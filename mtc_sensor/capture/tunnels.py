"""Tunnels, found and checked as Zeek's default scripts have it.

Zeek: packet_analysis/protocol/{iptunnel,gre,vxlan,geneve,teredo,ayiya,gtpv1}. IP-in-IP and GRE
leave only the inner packet; the others lie in UDP, whose row stays. Zeek looks at the responder's
port of the connection; here a packet stands alone: its destination port decides, or else its source
port.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from mtc_sensor.capture.layers import BE32, Bytes, Counts, Ints, Layer, Mask, gather, u8, u16
from mtc_sensor.capture.link import ethernet
from mtc_sensor.capture.network import Datagrams
from mtc_sensor.capture.transport import UDP, Segments

MAX_DEPTH: Final = 4
"""Tunnels around a packet that are followed; Zeek's Tunnel::max_depth."""
_MAX_GTP_EXTENSIONS: Final = 16

_IPIP: Final = 4
_IPV6: Final = 41
_GRE: Final = 47

_BRIDGED: Final = 0x6558
_ERSPAN: Final = 0x88BE
_ERSPAN_3: Final = 0x22EB
_PPTP: Final = 0x880B
_GRE_ROUTING: Final = 0x4000
_GRE_RESERVED: Final = 0x0078


class _Found(NamedTuple):
    """What tunnels carry."""

    ethernet: list[Layer]
    ip: list[Layer]


def in_ip(data: Bytes, datagrams: Datagrams, counts: Counts) -> Layer:
    """Return the IP layer inside datagrams that are IP-in-IP or GRE.

    `counts` takes bad_tunnel and other_protocol (neither a connection nor a tunnel).
    """
    payload, proto = datagrams.payload, datagrams.proto
    found = _Found([], [])
    for number in (_IPIP, _IPV6):
        version = 4 if number == _IPIP else 6
        inner = payload.take(proto == number)
        inner = inner.keep(_is_exact_ip(data, inner, version), counts, "bad_tunnel")
        found.ip.append(_complete(inner))
    _gre(data, payload.take(proto == _GRE), counts, found)
    others = ~np.isin(proto, (_IPIP, _IPV6, _GRE))
    counts.add("other_protocol", others)
    return _ip_layer(data, found, counts)


def in_udp(data: Bytes, segments: Segments, counts: Counts) -> Layer:
    """Return the IP layer inside UDP payloads; those without a tunnel are passed over.

    `counts` takes bad_tunnel.
    """
    rows, kind = _tunnel_kinds(segments)
    if not rows.size:
        return Layer.concat([])
    layer = segments.ip.take(rows).payload.skip(8)
    found = _Found([], [])
    for number in np.unique(kind).tolist():
        _UDP_TUNNELS[number](data, layer.take(kind == number), counts, found)
    return _ip_layer(data, found, counts)


def _ip_layer(data: Bytes, found: _Found, counts: Counts) -> Layer:
    frames = Layer.concat(found.ethernet)
    return Layer.concat([*found.ip, ethernet(data, frames, counts)])


def _complete(layer: Layer) -> Layer:
    # Behind GRE and IP-in-IP Zeek takes what was captured for all there is.
    return Layer(layer.packet, layer.pos, layer.end, np.zeros_like(layer.lost))


def _is_exact_ip(data: Bytes, layer: Layer, version: int | None = None) -> Mask:
    """Tell where a layer is exactly one IP packet, as Zeek's ParsePacket (IP.cc) wants it."""
    nibble = u8(data, layer.pos) >> 4
    size = layer.captured
    exact: Mask = (nibble == 4) & (size >= 20) & (u16(data, layer.pos + 2) == size)
    exact |= (nibble == 6) & (size >= 40) & (u16(data, layer.pos + 4) + 40 == size)
    return exact if version is None else exact & (nibble == version)


def _gre(data: Bytes, layer: Layer, counts: Counts, found: _Found) -> None:
    layer = layer.keep(layer.captured >= 4, counts, "bad_tunnel")
    flags, proto = u16(data, layer.pos), u16(data, layer.pos + 2)
    size = 4 + sum(np.where(flags & bit, 4, 0) for bit in (0x8000, 0x2000, 0x1000, 0x0080))
    known = (flags & (_GRE_ROUTING | _GRE_RESERVED)) == 0
    known &= layer.captured >= size
    plain = known & ((flags & 7) == 0) & ~_is_wireless(proto)
    bridged = plain & np.isin(proto, (_BRIDGED, _ERSPAN, _ERSPAN_3))
    enhanced = known & ((flags & 7) == 1) & (proto == _PPTP)
    layer.keep(plain | enhanced, counts, "bad_tunnel")
    found.ip.append(_complete(layer.skip(size).take(plain & ~bridged)))
    _pptp(data, layer.skip(size).take(enhanced), counts, found)
    bridge = layer.skip(size).take(bridged)
    shim = _erspan_size(data, bridge, flags[bridged], proto[bridged])
    fits = bridge.captured > shim + 14
    counts.add("bad_tunnel", ~fits)
    found.ethernet.append(_complete(bridge.skip(shim).take(fits)))


def _is_wireless(proto: Ints) -> Mask:
    # Aruba's 802.11 frames, as Zeek recognises them.
    wireless: Mask = ((proto & 0x820F) == 0x8200) | (proto == 0x9000)
    return wireless


def _erspan_size(data: Bytes, layer: Layer, flags: Ints, proto: Ints) -> Ints:
    """Return the size of ERSPAN's header, of type II (with a sequence number) or III."""
    type_2 = (proto == _ERSPAN) & ((flags & 0x1000) != 0)
    type_3 = proto == _ERSPAN_3
    subheader = type_3 & (layer.captured > 12) & ((u8(data, layer.pos + 11) & 1) != 0)
    size: Ints = 8 * (type_2 | subheader) + 12 * type_3
    return size


def _pptp(data: Bytes, layer: Layer, counts: Counts, found: _Found) -> None:
    layer = layer.keep(layer.captured >= 4, counts, "bad_tunnel")
    protocol = u16(data, layer.pos + 2)
    inner = layer.skip(4)
    exact = (protocol == 0x21) & _is_exact_ip(data, inner, 4)
    exact |= (protocol == 0x57) & _is_exact_ip(data, inner, 6)
    found.ip.append(_complete(inner.keep(exact, counts, "bad_tunnel")))


def _vxlan(data: Bytes, layer: Layer, counts: Counts, found: _Found) -> None:
    good = (layer.captured > 8) & ((u8(data, layer.pos) & 8) != 0)
    found.ethernet.append(layer.keep(good, counts, "bad_tunnel").skip(8))


def _geneve(data: Bytes, layer: Layer, counts: Counts, found: _Found) -> None:
    layer = layer.keep(layer.captured > 8, counts, "bad_tunnel")
    first = u8(data, layer.pos)
    size = 8 + (first & 63) * 4
    proto = u16(data, layer.pos + 2)
    bridged, routed = proto == _BRIDGED, np.isin(proto, (0x0800, 0x86DD))
    good = (first >> 6 == 0) & (layer.captured > size)
    layer.keep(good & (bridged | routed), counts, "bad_tunnel")
    found.ethernet.append(layer.skip(size).take(good & bridged))
    found.ip.append(layer.skip(size).take(good & routed))


def _teredo(data: Bytes, layer: Layer, counts: Counts, found: _Found) -> None:
    inner, _ = _teredo_inner(data, layer)
    found.ip.append(inner.keep(_is_exact_ip(data, inner, 6), counts, "bad_tunnel"))


def _teredo_anywhere(data: Bytes, layer: Layer, counts: Counts, found: _Found) -> None:
    # On other ports Zeek wants an origin indication, or an address in 2001::/32.
    inner, has_origin = _teredo_inner(data, layer)
    prefixes = (gather(data, inner.pos + at, BE32) for at in (8, 24))
    in_prefix = np.logical_or(*(prefix == 0x20010000 for prefix in prefixes))
    bare = inner.pos == layer.pos
    found.ip.append(inner.take(_is_exact_ip(data, inner, 6) & (has_origin | (bare & in_prefix))))


def _teredo_inner(data: Bytes, layer: Layer) -> tuple[Layer, Mask]:
    """Step over the optional authentication and origin (RFC 4380, 5.1.1)."""
    has_authentication = u16(data, layer.pos) == 1
    size = 13 + u8(data, layer.pos + 2) + u8(data, layer.pos + 3)
    layer = layer.skip(np.minimum(size, layer.captured) * has_authentication)
    has_origin = (u16(data, layer.pos) == 0) & (layer.captured >= 8)
    return layer.skip(8 * has_origin), has_origin


def _ayiya(data: Bytes, layer: Layer, counts: Counts, found: _Found) -> None:
    layer = layer.keep(layer.captured > 8, counts, "bad_tunnel")
    size = 8 + (1 << (u8(data, layer.pos) >> 4)) + (u8(data, layer.pos + 1) >> 4) * 4
    forwards = (u8(data, layer.pos + 2) & 15) == 1
    carries_ip = np.isin(u8(data, layer.pos + 3), (_IPIP, _IPV6))
    good = forwards & carries_ip & (layer.captured > size)
    found.ip.append(layer.keep(good, counts, "bad_tunnel").skip(size[good]))


def _gtp(data: Bytes, layer: Layer, counts: Counts, found: _Found) -> None:
    layer = layer.keep(layer.captured > 8, counts, "bad_tunnel")
    flags = u8(data, layer.pos)
    carries_ip = (flags >> 4 == 3) & (u8(data, layer.pos + 1) == 255)  # GTP version 1, G-PDU
    size = 8 + 4 * ((flags & 7) != 0)
    rows = np.flatnonzero(carries_ip & ((flags & 4) != 0))
    for _ in range(_MAX_GTP_EXTENSIONS):
        extension = 4 * u8(data, layer.pos[rows] + np.minimum(size, layer.captured)[rows])
        size[rows] += extension
        inside = (extension > 0) & (size[rows] < layer.captured[rows])
        carries_ip[rows[~inside]] = False
        rows = rows[inside]
        rows = rows[u8(data, layer.pos[rows] + size[rows] - 1) != 0]
    carries_ip[rows] = False
    inner = layer.skip(np.minimum(size, layer.captured))
    good = carries_ip & _is_exact_ip(data, inner)
    found.ip.append(inner.keep(good, counts, "bad_tunnel"))


_UDP_TUNNELS: Final[tuple[Callable[[Bytes, Layer, Counts, _Found], None], ...]] = (
    _teredo_anywhere,
    _ayiya,
    _vxlan,
    _geneve,
    _teredo,
    _gtp,
    _gre,
)
_ANYWHERE, _AYIYA = 0, 1
_KIND_OF_PORT: Final = np.full(1 << 16, -1, np.int8)
_KIND_OF_PORT[[5072, 4789, 6081, 3544, 2152, 2123, 4754]] = 1, 2, 3, 4, 5, 5, 6


def _tunnel_kinds(segments: Segments) -> tuple[Ints, Ints]:
    """Return the rows of UDP that look like a tunnel, and which of `_UDP_TUNNELS` it may be."""
    rows = np.flatnonzero(segments.rows.proto == UDP)
    ports = _KIND_OF_PORT[segments.rows.dport[rows]], _KIND_OF_PORT[segments.rows.sport[rows]]
    kind = np.where(ports[0] >= 0, *ports)
    size = segments.ip.captured[rows] - 8
    first, second, third = (segments.header[name][rows] for name in ("first", "second", "third"))
    unknown = kind < 0
    teredo = (first >> 4 == 6) | ((first == 0) & (second <= 1))
    kind[unknown & teredo & (size >= 40)] = _ANYWHERE
    kind[unknown & (second == 0x52) & (third == 0x11) & (size >= 3)] = _AYIYA
    return rows[kind >= 0], kind[kind >= 0].astype(np.int64)
