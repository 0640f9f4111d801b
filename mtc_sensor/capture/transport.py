"""TCP, UDP and ICMP headers: which datagrams a connection in Zeek counts, and how long they are.

Zeek: packet_analysis/protocol/{tcp,udp,icmp} up to the call that reaches ConnSize.cc.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.capture.checksums import fold, ones_complement_sum
from mtc_sensor.capture.layers import Bytes, Counts, Ints, Mask, gather, layout
from mtc_sensor.capture.network import Datagrams
from mtc_sensor.capture.packets import DecodedBatch, PacketBatch

ICMP: Final = 1
TCP: Final = 6
UDP: Final = 17
ICMPV6: Final = 58

_MINIMUM: Final = np.zeros(256, np.int64)
_MINIMUM[[ICMP, TCP, UDP, ICMPV6]] = 8, 20, 8, 8
"""Shortest header of each protocol that makes connections, 0 for the others."""

_WINDOW: Final = np.dtype("V20")
_TRANSPORT: Final = layout(
    20,
    sport=(">u2", 0),
    dport=(">u2", 2),
    seq=(">u4", 4),
    ack=(">u4", 8),
    offset=("u1", 12),
    flags=("u1", 13),
    udp_length=(">u2", 4),
    udp_checksum=(">u2", 6),
    first=("u1", 8),
    second=("u1", 9),
    third=("u1", 10),
    type=("u1", 0),
    code=("u1", 1),
)
"""A transport header; `first` to `third` are UDP payload."""


def _counterparts(pairs: dict[int, int]) -> NDArray[np.int64]:
    table = np.full(256, -1, np.int64)
    for request, reply in pairs.items():
        table[request], table[reply] = reply, request
    return table


ANSWERS: Final = {
    ICMP: _counterparts({8: 0, 13: 14, 15: 16, 10: 9, 17: 18}),
    ICMPV6: _counterparts({128: 129, 133: 134, 135: 136, 130: 131, 139: 140, 144: 145}),
}
"""(256,) ICMP's type that answers each, or -1; Zeek: ICMP4_counterpart, ICMP6_counterpart."""


class Segments(NamedTuple):
    """``n`` rows of connections, and what a tunnel inside them needs."""

    rows: DecodedBatch
    ip: Datagrams
    header: NDArray[np.void]
    """(n,) the first 20 bytes, as `_TRANSPORT`: of UDP, its header and the payload's start."""


def makes_connections(ip: Datagrams) -> Mask:
    """Return which datagrams are TCP, UDP or ICMP."""
    known: Mask = (_MINIMUM > 0)[ip.proto]
    return known


def parse_transport(
    batch: PacketBatch, ip: Datagrams, wanted: Mask, counts: Counts, verify: bool
) -> Segments:
    """Read the transport headers of the `wanted` datagrams, which are TCP, UDP and ICMP.

    `counts` takes what is dropped: truncated_transport (the header is not all there),
    bad_tcp_header, truncated_icmp (Zeek counts only ICMP captured whole), bad_checksum.
    """
    header = _headers(batch.data, ip)
    good = wanted & _complete(ip, header, wanted, counts)
    if not good.all():
        ip, header = ip.take(good), header.take(np.flatnonzero(good))
    if verify:
        good = _verified(batch.data, ip, header)
        counts.add("bad_checksum", ~good)
        ip, header = ip.take(good), header[good]
    return Segments(_rows(batch, ip, header), ip, header)


def _headers(data: Bytes, ip: Datagrams) -> NDArray[np.void]:
    header = ip.window["after20"].copy()
    elsewhere = np.flatnonzero(ip.header != 20)
    if elsewhere.size:
        header[elsewhere] = ip.window["after40"][elsewhere]
        elsewhere = elsewhere[ip.header[elsewhere] != 40]
        header[elsewhere] = gather(data, (ip.layer.pos + ip.header)[elsewhere], _WINDOW)
    return header.view(_TRANSPORT)


def _tcp_length(ip: Datagrams) -> Ints:
    return np.where(ip.total == 0, ip.captured, ip.length)


def _complete(ip: Datagrams, header: NDArray[np.void], wanted: Mask, counts: Counts) -> Mask:
    captured = ip.captured
    short = captured < _MINIMUM[ip.proto]
    size = (header["offset"] >> 4).astype(np.int64) * 4
    # Where the IP header says that nothing follows it, a trailer is not TCP.
    nothing = (ip.length == 0) & (ip.total > 0)
    bad_tcp = (ip.proto == TCP) & ((size < 20) | (size > captured) | nothing) & ~short
    is_icmp = (ip.proto == ICMP) | (ip.proto == ICMPV6)
    cut_icmp = is_icmp & (captured < ip.length) & ~short
    counts.add("truncated_transport", short & wanted)
    counts.add("bad_tcp_header", bad_tcp & wanted)
    counts.add("truncated_icmp", cut_icmp & wanted)
    complete: Mask = ~(short | bad_tcp | cut_icmp)
    return complete


def _rows(batch: PacketBatch, ip: Datagrams, header: NDArray[np.void]) -> DecodedBatch:
    sport, dport, one_way = _ports(ip.proto, header)
    flags, seq = header["flags"].copy(), header["seq"].astype(np.uint32)
    ack = header["ack"].astype(np.uint32)
    payload = _tcp_length(ip) - (header["offset"] >> 4).astype(np.int64) * 4
    no_tcp = np.flatnonzero(ip.proto != TCP)
    flags[no_tcp], seq[no_tcp], ack[no_tcp], payload[no_tcp] = 0, 0, 0, 0
    udp = no_tcp[ip.proto[no_tcp] == UDP]
    payload[udp] = np.maximum(header["udp_length"][udp].astype(np.int64) - 8, 0)
    ip_captured = np.minimum(ip.layer.captured, ip.size)
    # A header that says "no payload" makes Zeek read the transport header from the trailer.
    inside = ip.header + _MINIMUM[ip.proto] <= ip_captured
    return DecodedBatch(
        packet=ip.layer.packet,
        ts_us=batch.ts_us[ip.layer.packet],
        src=ip.src,
        dst=ip.dst,
        sport=sport,
        dport=dport,
        proto=ip.proto,
        one_way=one_way,
        ip_len=ip.total,
        payload=payload,
        tcp_flags=flags,
        tcp_seq=seq,
        tcp_ack=ack,
        ip_offset=ip.layer.pos,
        ip_captured=ip_captured,
        l4_offset=ip.header * inside,
    )


def _ports(
    proto: NDArray[np.uint8], header: NDArray[np.void]
) -> tuple[NDArray[np.uint16], NDArray[np.uint16], Mask]:
    sport, dport = header["sport"].astype(np.uint16), header["dport"].astype(np.uint16)
    one_way = np.zeros(len(proto), np.bool_)
    for number, counterpart in ANSWERS.items():
        rows = np.flatnonzero(proto == number)
        kind = header["type"][rows]
        answer = counterpart[kind]
        sport[rows], one_way[rows] = kind, answer < 0
        dport[rows] = np.where(answer < 0, header["code"][rows], answer)
    return sport, dport, one_way


def _verified(data: Bytes, ip: Datagrams, header: NDArray[np.void]) -> Mask:
    length, layer = np.where(ip.length > 0, ip.length, ip.captured), ip.payload
    is_udp, is_icmp = ip.proto == UDP, ip.proto == ICMP
    is_four = ip.window["version"] >> 4 == 4
    sums = ones_complement_sum(data, layer.pos, layer.end)
    pseudo = _words(ip.src, is_four) + _words(ip.dst, is_four) + ip.proto + length
    right = fold(sums + np.where(is_icmp, 0, pseudo)) == 0xFFFF
    # UDP without a checksum: IPv4, and VXLAN on either (RFC 7348).
    no_checksum = is_udp & (header["udp_checksum"] == 0)
    vxlan = (header["dport"] == 4789) & (length > 30) & ((header["first"] & 8) != 0)
    unchecked = layer.captured < length
    unchecked |= is_udp & (layer.lost > 0)
    unchecked |= no_checksum & (is_four | vxlan)
    verified: Mask = right | unchecked
    return verified


def _words(address: Bytes, is_four: Mask) -> Ints:
    words = np.ascontiguousarray(address).view(">u2").astype(np.int64)
    sums: Ints = np.where(is_four, words[:, 6:].sum(1), words.sum(1))
    return sums
