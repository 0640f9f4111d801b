"""Build frames byte by byte, from the inside out: an independent counterpart of the decoder."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence

import numpy as np

from mtc_sensor.capture.packets import PacketBatch

A4, B4 = "10.0.0.1", "192.168.7.2"
A6, B6 = "2001:db8::1", "2001:db8:9::2"
ICMP, IPIP, TCP, UDP, IPV6, GRE, ICMPV6 = 1, 4, 6, 17, 41, 47, 58
IP4, IP6, ARP, VLAN, MPLS, PPPOE = 0x0800, 0x86DD, 0x0806, 0x8100, 0x8847, 0x8864


def batch(
    frames: Sequence[bytes],
    link: int | Sequence[int] = 1,
    *,
    wire: Sequence[int] | None = None,
    times: Sequence[int] | None = None,
    between: bytes = b"\xee" * 16,
) -> PacketBatch:
    """Return frames as a batch, with `between` before and after each of them."""
    caplen = np.array([len(frame) for frame in frames], np.int64)
    stop = np.cumsum(caplen + len(between))
    data = b"".join(between + frame for frame in frames) + between
    return PacketBatch(
        data=np.frombuffer(data, np.uint8),
        offset=stop - caplen,
        caplen=caplen,
        wirelen=caplen if wire is None else np.array(wire, np.int64),
        ts_us=np.array(range(len(frames)) if times is None else times, np.int64),
        link=np.broadcast_to(np.array(link, np.int32), len(frames)).copy(),
    )


def packed(address: str) -> bytes:
    """Return an address as its 4 or 16 bytes."""
    return ipaddress.ip_address(address).packed


def mapped(address: str) -> bytes:
    """Return an address as the decoder has it."""
    raw = packed(address)
    return raw if len(raw) == 16 else bytes(10) + b"\xff\xff" + raw


def checksum(data: bytes) -> int:
    """Return the Internet checksum of `data`."""
    padded = data + bytes(len(data) % 2)
    total = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    return int(0xFFFF - total)


_CHECKSUM_AT = {ICMP: 2, ICMPV6: 2, TCP: 16, UDP: 6}


def summed(segment: bytes, proto: int, src: str, dst: str) -> bytes:
    """Return a transport segment with its checksum."""
    at = _CHECKSUM_AT.get(proto)
    if at is None or len(segment) < at + 2:
        return segment
    pseudo = packed(src) + packed(dst) + struct.pack(">II", len(segment), proto)
    value = checksum(segment if proto == ICMP else pseudo + segment) or 0xFFFF
    return segment[:at] + struct.pack(">H", value) + segment[at + 2 :]


def ethernet(payload: bytes, ethertype: int = IP4) -> bytes:
    return bytes.fromhex("020000000001020000000002") + struct.pack(">H", ethertype) + payload


def vlan(payload: bytes, ethertype: int = IP4, vid: int = 5) -> bytes:
    """Return what follows the EtherType of a tag."""
    return struct.pack(">HH", vid, ethertype) + payload


def mpls(payload: bytes, labels: int = 1) -> bytes:
    stack = [struct.pack(">I", (16 + i) << 12 | (i == labels - 1) << 8 | 64) for i in range(labels)]
    return b"".join(stack) + payload


def pppoe(payload: bytes, protocol: int = 0x21) -> bytes:
    return struct.pack(">BBHHH", 0x11, 0, 7, len(payload) + 2, protocol) + payload


def snap(payload: bytes, ethertype: int = IP4, control: bytes = b"\x03", oui: int = 0) -> bytes:
    """Return an LLC and SNAP header and what follows, without the 802.3 length."""
    return (
        b"\xaa\xaa" + control + struct.pack(">I", oui)[1:] + struct.pack(">H", ethertype) + payload
    )


def sll(payload: bytes, ethertype: int = IP4) -> bytes:
    return struct.pack(">HHH8sH", 0, 1, 6, b"\x02" * 6, ethertype) + payload


def sll2(payload: bytes, ethertype: int = IP4) -> bytes:
    return struct.pack(">HHIHBB8s", ethertype, 0, 3, 1, 0, 6, b"\x02" * 6) + payload


def null(payload: bytes, family: int = 2, order: str = "<") -> bytes:
    return struct.pack(order + "I", family) + payload


def ipv4(
    payload: bytes,
    proto: int = TCP,
    src: str = A4,
    dst: str = B4,
    *,
    options: bytes = b"",
    ident: int = 0x1234,
    fragment: int = 0,
    total: int | None = None,
    check: bool = True,
) -> bytes:
    """Return an IPv4 datagram, its transport with a checksum unless `check` is False."""
    if check and not fragment:
        payload = summed(payload, proto, src, dst)
    size = 20 + len(options)
    total = size + len(payload) if total is None else total
    head = struct.pack(">BBHHHBBH", 0x40 | size // 4, 0, total, ident, fragment, 64, proto, 0)
    head += packed(src) + packed(dst) + options
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def ipv6(
    payload: bytes,
    proto: int = TCP,
    src: str = A6,
    dst: str = B6,
    *,
    extensions: Sequence[tuple[int, bytes]] = (),
    length: int | None = None,
    check: bool = True,
) -> bytes:
    """Return an IPv6 packet; each extension is its protocol number and its body after 'next'."""
    if check:
        payload = summed(payload, proto, src, dst)
    protos = [number for number, _ in extensions] + [proto]
    chain = b"".join(
        bytes([following]) + body
        for (_, body), following in zip(extensions, protos[1:], strict=True)
    )
    size = len(chain) + len(payload) if length is None else length
    return (
        struct.pack(">IHBB", 6 << 28, size, protos[0], 64)
        + packed(src)
        + packed(dst)
        + chain
        + payload
    )


def extension(body: bytes = b"") -> bytes:
    """Return a hop-by-hop, routing or destination header after 'next': its length and body."""
    size = -(-(2 + len(body)) // 8)
    return bytes([size - 1]) + body.ljust(size * 8 - 2, b"\0")


def fragment_header(offset: int, more: bool, ident: int = 7) -> bytes:
    return struct.pack(">BHI", 0, offset | more, ident)


def tcp(
    payload: bytes = b"",
    sport: int = 40000,
    dport: int = 443,
    *,
    seq: int = 0x01020304,
    ack: int = 0xF0E0D0C0,
    flags: int = 0x18,
    options: bytes = b"",
) -> bytes:
    size = 20 + len(options)
    head = struct.pack(">HHIIBBHHH", sport, dport, seq, ack, size // 4 << 4, flags, 1024, 0, 0)
    return head + options + payload


def udp(
    payload: bytes = b"", sport: int = 40000, dport: int = 53, length: int | None = None
) -> bytes:
    return (
        struct.pack(">HHHH", sport, dport, 8 + len(payload) if length is None else length, 0)
        + payload
    )


def icmp(kind: int = 8, code: int = 0, payload: bytes = b"ping") -> bytes:
    return struct.pack(">BBHI", kind, code, 0, 0x00010002) + payload


def gre(payload: bytes, proto: int = IP4, *, flags: int = 0, fields: bytes = b"") -> bytes:
    return struct.pack(">HH", flags, proto) + fields + payload


def vxlan(frame: bytes, flags: int = 8) -> bytes:
    return struct.pack(">B3xI", flags, 99 << 8) + frame


def geneve(payload: bytes, proto: int = 0x6558, options: bytes = b"") -> bytes:
    return struct.pack(">BBHI", len(options) // 4, 0, proto, 99 << 8) + options + payload


def teredo(packet: bytes, *, authentication: bytes | None = None, origin: bool = False) -> bytes:
    head = b""
    if authentication is not None:
        head += struct.pack(">HBB", 1, len(authentication), 0) + authentication + bytes(9)
    if origin:
        head += struct.pack(">HHI", 0, 0x1234, 0x11223344)
    return head + packet


def gtp(packet: bytes, flags: int = 0x30, kind: int = 255, options: bytes = b"") -> bytes:
    return struct.pack(">BBHI", flags, kind, len(options) + len(packet), 5) + options + packet


def ayiya(packet: bytes, proto: int = IPV6, opcode: int = 1) -> bytes:
    """Return AYIYA with a 16-byte identity and a 20-byte signature."""
    return struct.pack(">BBBBI", 0x44, 0x52, 0x10 | opcode, proto, 0) + bytes(16 + 20) + packet


def pptp(packet: bytes, protocol: int = 0x21, options: tuple[int, bytes] = (0, b"")) -> bytes:
    """Return enhanced GRE (version 1) with a key, and a PPP header without compression."""
    flags, fields = options
    head = struct.pack(">HHI", 0x2001 | flags, 0x880B, 0) + fields
    return head + struct.pack(">HH", 0xFF03, protocol) + packet


def fragments4(
    segment: bytes, size: int, proto: int = UDP, *, ident: int = 9, src: str = A4
) -> list[bytes]:
    """Return an IPv4 datagram as fragments of `size` payload bytes, in order."""
    segment = summed(segment, proto, src, B4)
    starts = range(0, len(segment), size)
    return [
        ipv4(
            segment[start : start + size],
            proto,
            src,
            ident=ident,
            fragment=(0x2000 if start + size < len(segment) else 0) | start // 8,
        )
        for start in starts
    ]


def fragments6(segment: bytes, size: int, proto: int = UDP, *, ident: int = 9) -> list[bytes]:
    """Return an IPv6 packet as fragments of `size` payload bytes, in order."""
    segment = summed(segment, proto, A6, B6)
    return [
        _fragment6(segment[start : start + size], proto, start, start + size < len(segment), ident)
        for start in range(0, len(segment), size)
    ]


def _fragment6(part: bytes, proto: int, start: int, more: bool, ident: int) -> bytes:
    head = bytes([proto]) + fragment_header(start, more, ident)
    return ipv6(head + part, 44)
