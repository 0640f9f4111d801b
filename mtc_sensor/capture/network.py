"""The network layer: IPv4 and IPv6 headers, checked in the order of Zeek's IP analyzer (IP.cc)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.capture.checksums import ones_complement_sum
from mtc_sensor.capture.extensions import FRAGMENT, IS_EXTENSION, walk_extensions
from mtc_sensor.capture.layers import Bytes, Counts, Ints, Layer, Mask, gather, layout, take, u16

# One read of 60 bytes holds an IP header and, without options, the transport header after it.
_IP: Final = layout(
    60,
    version=("u1", 0),
    length=(">u2", 2),
    fragment=(">u2", 6),
    proto=("u1", 9),
    src=("<u4", 12),
    dst=("<u4", 16),
    length6=(">u2", 4),
    proto6=("u1", 6),
    src6=("V16", 8),
    dst6=("V16", 24),
    after20=("V20", 20),
    after40=("V20", 40),
)
_IS_FRAGMENT: Final = 0x3FFF  # of the IPv4 field: offset and "more fragments"
_MAPPED: Final = np.uint64(0xFFFF0000)  # bytes 8..11 of a mapped IPv4 address, little-endian


@dataclass(frozen=True, eq=False)
class Datagrams:
    """``n`` IP datagrams or fragments of them."""

    layer: Layer
    """(n,) from the IP header on, with trailers."""
    header: Ints
    """(n,) header length with options and extension headers."""
    total: Ints
    """(n,) total length by the header; 0 in IPv4 captured before segmentation offload."""
    proto: NDArray[np.uint8]
    """(n,) the payload's protocol, or the IPv6 extension header that the chain stops at."""
    src: Bytes
    """(n, 16) source, IPv4 mapped."""
    dst: Bytes
    """(n, 16) destination."""
    window: NDArray[np.void]
    """(n,) the first bytes, as `_IP`."""

    def __len__(self) -> int:
        return len(self.header)

    def take(self, rows: Ints | Mask) -> Datagrams:
        """Return some datagrams, by index or mask."""
        return take(self, rows)

    @cached_property
    def size(self) -> Ints:
        """(n,) total length; what was captured where the header says 0."""
        return np.where(self.total == 0, self.layer.captured, self.total)

    @cached_property
    def length(self) -> Ints:
        """(n,) payload length by the header; 0 where the header says 0."""
        length: Ints = np.maximum(self.total - self.header, 0)
        return length

    @cached_property
    def payload(self) -> Layer:
        """(n,) the captured payload."""
        layer = self.layer.skip(self.header)
        return Layer(layer.packet, layer.pos, layer.pos + self.captured, layer.lost)

    @cached_property
    def captured(self) -> Ints:
        """(n,) captured bytes of payload; up to the frame's end if `length` is 0, as in Zeek."""
        captured, length = self.layer.captured - self.header, self.length
        return np.where(length > 0, np.minimum(captured, length), captured)


class Parsed(NamedTuple):
    """What IP headers say."""

    datagrams: Datagrams
    """(n,) datagrams, good and bad."""
    usable: Mask
    """(n,) which of them are sound, and not fragments."""
    fragments: Datagrams
    """(f,) sound fragments that were captured to their end."""


def parse_ip(data: Bytes, layer: Layer, counts: Counts, verify: bool) -> Parsed:
    """Read IP headers.

    Parameters
    ----------
    data
        (b,) the bytes that `layer` points into.
    layer
        From the IP header on.
    counts
        Takes what is dropped: truncated_ip, unknown_ip_version, bad_ip_header, ip_beyond_frame,
        bad_ip_checksum, truncated_fragment.
    verify
        Whether wrong IPv4 header checksums drop a datagram.

    Returns
    -------
    Parsed
        As in Zeek, a first fragment that was not captured to its end is a datagram of its own, and
        such later ones are dropped.
    """
    layer = layer.keep(layer.captured >= 20, counts, "truncated_ip")
    window = gather(data, layer.pos, _IP)
    version = window["version"] >> 4
    readable = (version == 4) | ((version == 6) & (layer.captured >= 40))
    if not readable.all():
        counts.add("truncated_ip", ~readable & (version == 6))
        counts.add("unknown_ip_version", (version != 4) & (version != 6))
        layer, window, version = layer.take(readable), window[readable], version[readable]
    datagrams = _ipv4(layer, window)
    is_fragment = (window["fragment"] & _IS_FRAGMENT) != 0
    six = np.flatnonzero(version == 6)
    if six.size:
        is_fragment[six] = _ipv6(data, datagrams, six)
    usable = _sound(data, datagrams, counts, verify)
    rows = np.flatnonzero(is_fragment & usable)
    fragments = datagrams.take(rows)
    if rows.size:
        whole = fragments.layer.captured >= fragments.size
        offset, _ = fragment_offset(data, fragments)
        counts.add("truncated_fragment", ~whole & (offset > 0))
        usable[rows] = ~whole & (offset == 0)
        fragments = fragments.take(whole)
    return Parsed(datagrams, usable, fragments)


def fragment_offset(data: Bytes, fragments: Datagrams) -> tuple[Ints, Mask]:
    """Return where in the datagram each fragment's payload belongs, and whether more follow."""
    field = fragments.window["fragment"].astype(np.int64)
    offset, more = (field & 0x1FFF) * 8, (field & 0x2000) != 0
    six = np.flatnonzero(fragments.window["version"] >> 4 == 6)
    # The fragment header is always the last one of its chain.
    field = u16(data, (fragments.layer.pos + fragments.header - 6)[six])
    offset[six], more[six] = field & 0xFFF8, (field & 1) != 0
    return offset, more


def _ipv4(layer: Layer, window: NDArray[np.void]) -> Datagrams:
    return Datagrams(
        layer,
        header=(window["version"] & 15).astype(np.int64) * 4,
        total=window["length"].astype(np.int64),
        proto=window["proto"].astype(np.uint8),
        src=_mapped(window["src"]),
        dst=_mapped(window["dst"]),
        window=window,
    )


def _mapped(address: NDArray[np.uint32]) -> Bytes:
    halves = np.zeros((len(address), 2), "<u8")
    halves[:, 1] = (address.astype("<u8") << np.uint64(32)) | _MAPPED
    return halves.view(np.uint8)


def _ipv6(data: Bytes, datagrams: Datagrams, rows: Ints) -> Mask:
    """Write the IPv6 `rows` over what was read as IPv4; return which of them are fragments."""
    window, layer = datagrams.window[rows], datagrams.layer
    datagrams.header[rows] = 40
    datagrams.total[rows] = 40 + window["length6"].astype(np.int64)
    datagrams.proto[rows] = window["proto6"]
    datagrams.src[rows] = _bytes(window["src6"])
    datagrams.dst[rows] = _bytes(window["dst6"])
    is_fragment = np.zeros(len(rows), np.bool_)
    extended = np.flatnonzero(IS_EXTENSION[window["proto6"]])
    if extended.size:
        rows = rows[extended]
        pos = layer.pos[rows]
        chain = walk_extensions(data, pos, layer.captured[rows])
        datagrams.header[rows], datagrams.proto[rows] = chain.header, chain.proto
        datagrams.src[rows] = _bytes(gather(data, pos + chain.src_at, np.dtype("V16")))
        datagrams.dst[rows] = _bytes(gather(data, pos + chain.dst_at, np.dtype("V16")))
        is_fragment[extended] = chain.last == FRAGMENT
    return is_fragment


def _bytes(address: NDArray[np.void]) -> Bytes:
    return np.ascontiguousarray(address).view(np.uint8).reshape(-1, 16)


def _sound(data: Bytes, datagrams: Datagrams, counts: Counts, verify: bool) -> Mask:
    layer, header, size = datagrams.layer, datagrams.header, datagrams.size
    beyond = layer.captured + layer.lost < size
    bad = (header < 20) | (header > size) | (header > layer.captured)
    sound: Mask = ~(beyond | bad)
    counts.add("ip_beyond_frame", beyond)
    counts.add("bad_ip_header", bad & ~beyond)
    if verify:
        four = np.flatnonzero(sound & (datagrams.window["version"] >> 4 == 4))
        pos = layer.pos[four]
        # Offloading zeroes the length and leaves the checksum to the hardware.
        wrong = ones_complement_sum(data, pos, pos + header[four]) != 0xFFFF
        wrong |= datagrams.total[four] == 0
        sound[four[wrong]] = False
        counts.add("bad_ip_checksum", wrong)
    return sound
