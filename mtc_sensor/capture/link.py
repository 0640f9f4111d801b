"""Link layers: from a captured frame to its IP header, as Zeek's packet analyzers find it.

Zeek: src/packet_analysis/protocol/{ethernet,vlan,mpls,pppoe,snap,pbb,vntag,linux_sll,null}. Where
Zeek knows an EtherType on some link layers only, it is understood on all of them here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from mtc_sensor.capture.layers import Bytes, Counts, Ints, Layer, Mask, gather, u8, u16
from mtc_sensor.capture.packets import PacketBatch

_IPV4: Final = 0x0800
_IPV6: Final = 0x86DD
_MPLS: Final = (0x8847, 0x8848)
_PPPOE: Final = 0x8864
_MAX_LENGTH: Final = 1500  # an EtherType up to here is the length of an 802.3 frame
_MIN_ETHERTYPE: Final = 1536
_TRUNCATED, _NOT_IP = -1, -2  # in place of an EtherType

MAX_LINK_HEADERS: Final = 22
"""Tags and labels between the link header and IP; as many as Zeek's PacketAnalyzer::max_depth."""

# Headers that only delay the next EtherType: where in them it lies, and their size. 802.1Q and
# 802.1ad tags, VN-Tag, PBB (an Ethernet header 4 bytes in), Cisco FabricPath (2 bytes in).
_TAGS: Final = {
    0x8100: (2, 4),
    0x88A8: (2, 4),
    0x9100: (2, 4),
    0x8926: (4, 6),
    0x88E7: (16, 18),
    0x8903: (14, 16),
}


@dataclass(eq=False)
class _Frames:
    """Frames on their way to IP; `ethertype` says what begins at `pos`."""

    data: Bytes
    pos: Ints
    end: Ints
    ethertype: Ints

    def fitting(self, rows: Ints, size: int) -> Ints:
        """Return those of `rows` with more than `size` bytes; the others are cut."""
        fits = self.end[rows] - self.pos[rows] > size
        self.ethertype[rows[~fits]] = _TRUNCATED
        return rows[fits]


def ethernet(data: Bytes, layer: Layer, counts: Counts) -> Layer:
    """Return the IP layer of Ethernet frames; Zeek wants 17 bytes of each."""
    layer = layer.keep(layer.captured > 16, counts, "truncated_link")
    return _to_ip(data, layer.skip(14), u16(data, layer.pos + 12), counts)


def _cooked(data: Bytes, layer: Layer, counts: Counts) -> Layer:
    layer = layer.keep(layer.captured > 16, counts, "truncated_link")
    return _to_ip(data, layer.skip(16), _no_length(u16(data, layer.pos + 14)), counts)


def _cooked_v2(data: Bytes, layer: Layer, counts: Counts) -> Layer:
    layer = layer.keep(layer.captured > 20, counts, "truncated_link")
    return _to_ip(data, layer.skip(20), _no_length(u16(data, layer.pos)), counts)


def _loopback(data: Bytes, layer: Layer, counts: Counts) -> Layer:
    # AF_INET, and AF_INET6 of the BSDs and macOS, in the byte order of the machine that captured.
    layer = layer.keep(layer.captured > 4, counts, "truncated_link")
    families = [
        gather(data, layer.pos, np.dtype(order)).astype(np.int64) for order in ("<u4", ">u4")
    ]
    known = np.isin(families[0], (2, 24, 28, 30)) | np.isin(families[1], (2, 24, 28, 30))
    return layer.keep(known, counts, "not_ip").skip(4)


def _raw(data: Bytes, layer: Layer, counts: Counts) -> Layer:
    return layer


_LINKS: Final[dict[int, Callable[[Bytes, Layer, Counts], Layer]]] = {
    0: _loopback,
    1: ethernet,
    12: _raw,
    14: _raw,
    101: _raw,
    108: _loopback,
    113: _cooked,
    228: _raw,
    229: _raw,
    276: _cooked_v2,
}

KNOWN_LINKS: Final = frozenset(_LINKS)
"""Link types (LINKTYPE_*) that can be decoded."""


def network_layer(data: Bytes, batch: PacketBatch, counts: Counts) -> Layer:
    """Return the IP layer of a batch's packets; packets without one are counted."""
    packet = np.arange(len(batch), dtype=np.int64)
    end = batch.offset + batch.caplen
    layer = Layer(packet, batch.offset, end, batch.wirelen - batch.caplen)
    first = batch.link[:1]
    if (batch.link == first).all():
        return _by_link(int(first[0]), data, layer, counts) if first.size else layer
    kinds = (int(kind) for kind in np.unique(batch.link))
    parts = [_by_link(kind, data, layer.take(batch.link == kind), counts) for kind in kinds]
    joined = Layer.concat(parts)
    return joined.take(np.argsort(joined.packet))


def _by_link(kind: int, data: Bytes, layer: Layer, counts: Counts) -> Layer:
    if kind not in _LINKS:
        return layer.keep(np.zeros(len(layer), np.bool_), counts, "unknown_link")
    return _LINKS[kind](data, layer, counts)


def _to_ip(data: Bytes, layer: Layer, ethertype: Ints, counts: Counts) -> Layer:
    """Follow tags, labels and sessions to IP."""
    is_ip = _is_ip(ethertype)
    if is_ip.all():
        return layer
    frames = _Frames(data, layer.pos.copy(), layer.end.copy(), ethertype)
    rows = np.flatnonzero(~is_ip)
    for _ in range(MAX_LINK_HEADERS):
        _one_header(frames, rows)
        rows = rows[(frames.ethertype[rows] >= 0) & ~_is_ip(frames.ethertype[rows])]
        if not rows.size:
            break
    counts.add("link_depth", rows.size)
    counts.add("truncated_link", frames.ethertype == _TRUNCATED)
    counts.add("not_ip", frames.ethertype == _NOT_IP)
    found = Layer(layer.packet, frames.pos, frames.end, layer.lost)
    return found.take(_is_ip(frames.ethertype))


def _one_header(frames: _Frames, rows: Ints) -> None:
    """Pass one header of each row; what is no known one becomes `_NOT_IP`."""
    kinds = frames.ethertype[rows]
    frames.ethertype[rows] = _NOT_IP
    for kind in np.unique(kinds[kinds > _MAX_LENGTH]).tolist():
        if kind in _TAGS:
            _tag(frames, rows[kinds == kind], *_TAGS[kind])
        elif kind in _MPLS:
            _mpls(frames, rows[kinds == kind], kind)
        elif kind == _PPPOE:
            _pppoe(frames, rows[kinds == kind])
    has_length = (kinds >= 0) & (kinds <= _MAX_LENGTH)
    _llc(frames, rows[has_length], kinds[has_length])


def _tag(frames: _Frames, rows: Ints, at: int, size: int) -> None:
    rows = frames.fitting(rows, size)
    frames.ethertype[rows] = u16(frames.data, frames.pos[rows] + at)
    frames.pos[rows] += size


def _mpls(frames: _Frames, rows: Ints, kind: int) -> None:
    # RFC 3032 names no protocol below the label stack: Zeek takes it for IP, by its first nibble.
    rows = frames.fitting(rows, 4)
    bottom = u8(frames.data, frames.pos[rows] + 2) & 1
    frames.ethertype[rows] = np.where(bottom, _IPV4, kind)
    frames.pos[rows] += 4


def _pppoe(frames: _Frames, rows: Ints) -> None:
    rows = frames.fitting(rows, 8)
    pos = frames.pos[rows]
    protocol = u16(frames.data, pos + 6)
    frames.ethertype[rows] = np.where((protocol == 0x21) | (protocol == 0x57), _IPV4, _NOT_IP)
    # The length counts the protocol field, which is PPP's.
    length = np.maximum(u16(frames.data, pos + 4) - 2, 0)
    frames.pos[rows] = pos + 8
    frames.end[rows] = np.minimum(frames.end[rows], pos + 8 + length)


def _llc(frames: _Frames, rows: Ints, length: Ints) -> None:
    """Read 802.3 frames: SNAP with an EtherType leads on, nothing else does."""
    if not rows.size:
        return
    frames.end[rows] = np.minimum(frames.end[rows], frames.pos[rows] + length)
    rows = frames.fitting(rows, 1)
    rows = rows[u16(frames.data, frames.pos[rows]) == 0xAAAA]
    rows = frames.fitting(rows, 2)
    unnumbered = (u8(frames.data, frames.pos[rows] + 2) & 3) == 3
    for size in (3, 4):  # of the LLC header, by its control field
        snap = frames.fitting(rows[unnumbered == (size == 3)], size + 4)
        pos = frames.pos[snap] + size
        oui = (u16(frames.data, pos) << 8) | u8(frames.data, pos + 2)
        ethertype = _no_length(u16(frames.data, pos + 3))
        frames.ethertype[snap] = np.where(oui == 0, ethertype, _NOT_IP)
        frames.pos[snap] = pos + 5


def _no_length(ethertype: Ints) -> Ints:
    return np.where(ethertype < _MIN_ETHERTYPE, _NOT_IP, ethertype)


def _is_ip(ethertype: Ints) -> Mask:
    is_ip: Mask = (ethertype == _IPV4) | (ethertype == _IPV6)
    return is_ip
