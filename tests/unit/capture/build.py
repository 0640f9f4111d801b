"""Write captures byte by byte: an independent, slow counterpart of the reader under test."""

from __future__ import annotations

import struct
from collections.abc import Sequence

Packet = tuple[int, bytes] | tuple[int, bytes, int]
"""Time in microseconds since the epoch, captured bytes, and bytes on the wire if more."""

SECTION, INTERFACE, PACKET, SIMPLE, NAMES, STATISTICS, ENHANCED = 0x0A0D0D0A, 1, 2, 3, 4, 5, 6


def _wirelen(packet: Packet) -> int:
    return packet[2] if len(packet) == 3 else len(packet[1])


def pcap_header(
    *, link: int = 1, magic: int = 0xA1B2C3D4, snaplen: int = 262144, big_endian: bool = False
) -> bytes:
    """Return the 24 bytes of a pcap file header."""
    return struct.pack(">IHHiIII" if big_endian else "<IHHiIII", magic, 2, 4, 0, 0, snaplen, link)


def pcap_bytes(
    packets: Sequence[Packet],
    link: int = 1,
    nanoseconds: bool = False,
    big_endian: bool = False,
    snaplen: int = 262144,
) -> bytes:
    """Return a pcap file; nanosecond files get 999 ns more than the microseconds asked for."""
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    parts = [pcap_header(link=link, magic=magic, snaplen=snaplen, big_endian=big_endian)]
    for packet in packets:
        seconds, fraction = divmod(packet[0], 1_000_000)
        fraction = fraction * 1000 + 999 if nanoseconds else fraction
        lengths = (len(packet[1]), _wirelen(packet))
        order = ">" if big_endian else "<"
        parts += [struct.pack(order + "IIII", seconds, fraction, *lengths), packet[1]]
    return b"".join(parts)


def block(kind: int, body: bytes, *, big_endian: bool = False) -> bytes:
    """Return a pcapng block around `body`, which is padded to 32 bits."""
    order = ">" if big_endian else "<"
    total = 12 + len(body) + -len(body) % 4
    return (
        struct.pack(order + "II", kind, total)
        + body
        + bytes(-len(body) % 4)
        + struct.pack(order + "I", total)
    )


def option(code: int, value: bytes, *, big_endian: bool = False) -> bytes:
    """Return a pcapng option, padded to 32 bits."""
    order = ">" if big_endian else "<"
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(*, big_endian: bool = False) -> bytes:
    """Return a section header block of unknown section length."""
    order = ">" if big_endian else "<"
    return block(SECTION, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), big_endian=big_endian)


def interface(
    link: int = 1,
    *,
    snaplen: int = 0,
    tsresol: int | None = None,
    tsoffset: int | None = None,
    big_endian: bool = False,
) -> bytes:
    """Return an interface description block; `tsresol` is the option's byte (default: none, us)."""
    order = ">" if big_endian else "<"
    body = struct.pack(order + "HHI", link, 0, snaplen)
    body += option(2, b"eth0", big_endian=big_endian)
    if tsresol is not None:
        body += option(9, bytes([tsresol]), big_endian=big_endian)
    if tsoffset is not None:
        body += option(14, struct.pack(order + "q", tsoffset), big_endian=big_endian)
    return block(INTERFACE, body + option(0, b""), big_endian=big_endian)


def enhanced(
    ticks: int, data: bytes, wirelen: int, *, iface: int = 0, big_endian: bool = False
) -> bytes:
    """Return an enhanced packet block; `ticks` in the interface's resolution."""
    order = ">" if big_endian else "<"
    head = (iface, ticks >> 32, ticks & 0xFFFFFFFF, len(data), wirelen)
    body = struct.pack(order + "IIIII", *head) + data + bytes(-len(data) % 4)
    return block(ENHANCED, body + option(0, b""), big_endian=big_endian)


def obsolete(
    ticks: int, data: bytes, wirelen: int, *, iface: int = 0, big_endian: bool = False
) -> bytes:
    """Return an obsolete packet block with 7 drops."""
    order = ">" if big_endian else "<"
    head = (iface, 7, ticks >> 32, ticks & 0xFFFFFFFF, len(data), wirelen)
    return block(PACKET, struct.pack(order + "HHIIII", *head) + data, big_endian=big_endian)


def simple(data: bytes, wirelen: int, *, big_endian: bool = False) -> bytes:
    """Return a simple packet block, which has no time and no interface."""
    order = ">" if big_endian else "<"
    return block(SIMPLE, struct.pack(order + "I", wirelen) + data, big_endian=big_endian)


def pcapng_bytes(
    packets: Sequence[Packet],
    link: int = 1,
    *,
    tsresol: int | None = None,
    big_endian: bool = False,
) -> bytes:
    """Return a pcapng file of one section and one interface.

    `tsresol` is the option's byte; the resolution must be able to hold whole microseconds.
    """
    per_second = 10**6
    if tsresol is not None:
        per_second = 2 ** (tsresol & 0x7F) if tsresol & 0x80 else 10**tsresol
    parts = [
        section(big_endian=big_endian),
        interface(link, tsresol=tsresol, big_endian=big_endian),
    ]
    for packet in packets:
        ticks = -(-packet[0] * per_second // 1_000_000)  # upwards: reading truncates it back
        parts.append(enhanced(ticks, packet[1], _wirelen(packet), big_endian=big_endian))
    return b"".join(parts)
