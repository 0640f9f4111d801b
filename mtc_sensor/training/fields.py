"""Where things are in packet heads and records, found without the masking code, to be exchanged.

A field is exchanged between records: every head gets the bytes that another head of the same kind
(same place among the packets, same headers) has there. So what is common stays common, and only
what the field told of the record is gone. Permutation importance: Breiman: "Random Forests",
Machine Learning 45 (2001).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.flow import FlowBatch, pack_samples, unpack_samples

Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Generator = np.random.Generator

_TCP, _UDP = 6, 17
_ICMP = {1: (0, 8), 58: (128, 129)}
"""Echo types by protocol."""


class Heads(NamedTuple):
    """Where headers are; (k, 1) each, to be compared with byte positions."""

    at: NDArray[np.int64]
    """(1, w) byte positions."""
    version: NDArray[np.int64]
    l4: NDArray[np.int64]
    """Where the transport header begins; beyond every position where there is none."""
    payload: NDArray[np.int64]
    tcp: Mask
    udp: Mask
    echo: Mask
    other_icmp: Mask
    times: Mask
    """(k, w) inside a TCP timestamp option's values."""


Find = Callable[[Heads], Mask]


def _ip(v4: range, v6: range) -> Find:
    def find(h: Heads) -> Mask:
        in_4: Mask = (h.version == 4) & (h.at >= v4.start) & (h.at < v4.stop)
        in_6: Mask = (h.version == 6) & (h.at >= v6.start) & (h.at < v6.stop)
        return in_4 | in_6

    return find


def _l4(transport: str, begin: int, end: int) -> Find:
    def find(h: Heads) -> Mask:
        there: Mask = getattr(h, transport)
        return there & (h.at >= h.l4 + begin) & (h.at < h.l4 + end)

    return find


def _payload(begin: int, end: int) -> Find:
    return lambda h: (h.tcp | h.udp) & (h.at >= h.payload + begin) & (h.at < h.payload + end)


def _any(*finds: Find) -> Find:
    def find(h: Heads) -> Mask:
        found: Mask = np.logical_or.reduce([one(h) for one in finds])
        return found

    return find


_NONE = range(0)
_REST = 1 << 20

MASKED: dict[str, Find] = {
    "addresses": _any(_ip(range(12, 20), range(8, 40)), _l4("other_icmp", 4, _REST)),
    "ports": _any(_l4("tcp", 0, 4), _l4("udp", 0, 4)),
    "checksums": _any(
        _ip(range(10, 12), _NONE), _l4("tcp", 16, 18), _l4("udp", 6, 8),
        _l4("echo", 2, 4), _l4("other_icmp", 2, 4),
    ),
    "ip_id": _ip(range(4, 6), range(2, 4)),
    "ip_options": lambda h: (h.at >= np.where(h.version == 4, 20, 40)) & (h.at < h.l4)
    & (h.l4 < _REST),
    "ttl": _ip(range(8, 9), range(7, 8)),
    "tcp_seq": _l4("tcp", 4, 12),
    "tcp_timestamps": lambda h: h.times,
    "icmp_id": _l4("echo", 4, 8),
}  # fmt: skip
"""What tells machines and captures apart: no verdict may depend on it."""
OPEN: dict[str, Find] = {
    "dscp": _ip(range(1, 2), _NONE),
    "ip_length": _ip(range(2, 4), range(4, 6)),
    "ip_fragment": _ip(range(6, 8), _NONE),
    "tcp_flags": _l4("tcp", 13, 14),
    "tcp_window": _l4("tcp", 14, 16),
    "tcp_urgent": _l4("tcp", 18, 20),
    "tcp_options": lambda h: h.tcp & (h.at >= h.l4 + 20) & (h.at < h.payload) & ~h.times,
    "udp_length": _l4("udp", 4, 6),
    "icmp_type": _any(_l4("echo", 0, 2), _l4("other_icmp", 0, 2)),
    "payload 0-3": _payload(0, 4),
    "payload 4-7": _payload(4, 8),
    "payload 8-15": _payload(8, 16),
    "payload 16-31": _payload(16, 32),
    "payload 32-": _payload(32, _REST),
}
"""What a model of bytes may use."""


def locate(flows: FlowBatch) -> Heads:
    """Find the headers in all heads of a batch."""
    head, width = flows.head.astype(np.int64), flows.head.shape[1]
    proto = flows.proto[flows.head_rows()][:, None]
    first = head[:, :1] if width else np.zeros((len(head), 1), np.int64)
    version = np.where(np.isin(first >> 4, (4, 6)), first >> 4, 0)
    l4 = flows.head_l4.astype(np.int64)[:, None]
    l4 = np.where((l4 > 0) & (l4 < width), l4, _REST)
    tcp, udp = (proto == _TCP) & (l4 < _REST), (proto == _UDP) & (l4 < _REST)
    kind = _byte(head, l4)
    icmp = np.isin(proto, list(_ICMP)) & (l4 < _REST)
    echo = icmp & np.where(proto == 1, np.isin(kind, _ICMP[1]), np.isin(kind, _ICMP[58]))
    payload = l4 + np.where(tcp, (_byte(head, l4 + 12) >> 4) * 4, 8)
    at = np.arange(width)[None]
    times = _timestamps(head, l4, payload, tcp)
    return Heads(at, version, l4, payload, tcp, udp, echo, icmp & ~echo, times)


def _timestamps(
    head: NDArray[np.int64], l4: NDArray[np.int64], payload: NDArray[np.int64], tcp: Mask
) -> Mask:
    """Walk the TCP options of all heads at once: an option per step, at most 40 bytes of them."""
    at, here = np.arange(head.shape[1])[None], l4 + 20
    found = np.zeros(head.shape, np.bool_)
    going = tcp.copy()
    for _ in range(40):
        kind, length = _byte(head, here), _byte(head, here + 1)
        length = np.where(kind == 1, 1, length)
        going &= (here < payload) & (kind > 0) & (length > 0) & (here < head.shape[1])
        stamp = going & (kind == 8) & (length == 10)
        found |= stamp & (at >= here + 2) & (at < here + 10)
        here = here + np.where(going, length, 0)
    return found


def _byte(head: NDArray[np.int64], at: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (k, 1) the byte at a position of each head, 0 beyond it."""
    if not head.shape[1]:
        return np.zeros((len(head), 1), np.int64)
    inside = (at >= 0) & (at < head.shape[1])
    return np.where(inside, np.take_along_axis(head, np.where(inside, at, 0), 1), 0)


def exchange(flows: FlowBatch, find: Find, rng: Generator) -> FlowBatch:
    """Exchange a field's bytes between heads of one kind."""
    heads = locate(flows)
    donor = _donors(flows, heads, rng)
    return replace(flows, head=np.where(find(heads), flows.head[donor], flows.head))


def _donors(flows: FlowBatch, heads: Heads, rng: Generator) -> NDArray[np.int64]:
    """(k,) another head with the same headers and place among its connection's packets."""
    place = np.arange(len(flows.head)) - flows.head_offsets[flows.head_rows()]
    kinds = [heads.version, heads.l4, heads.payload, heads.tcp, heads.udp, heads.echo]
    key = np.column_stack([place, *(kind[:, 0] for kind in kinds)])
    _, kind = np.unique(key, axis=0, return_inverse=True)
    shuffled = rng.permutation(len(kind))
    donor = np.empty(len(kind), np.int64)
    donor[np.argsort(kind, kind="stable")] = shuffled[np.argsort(kind[shuffled], kind="stable")]
    return donor


def exchange_endpoints(flows: FlowBatch, rng: Generator) -> FlowBatch:
    """Exchange addresses, ports and start times of records, beside their heads."""
    other = rng.permutation(len(flows))
    names = ("orig_h", "resp_h", "orig_p", "resp_p", "start_us", "uid")
    return replace(flows, **{name: getattr(flows, name)[other] for name in names})


def exchange_sizes(flows: FlowBatch, rng: Generator) -> FlowBatch:
    """Exchange the sizes of all packets of one direction."""
    taken = unpack_samples(flows.samples)
    ip_len, payload = taken.ip_len.copy(), taken.payload.copy()
    for sender in (taken.responder, ~taken.responder):
        rows = np.flatnonzero(sender)
        other = rng.permutation(rows)
        ip_len[rows], payload[rows] = taken.ip_len[other], taken.payload[other]
    samples = pack_samples(taken.offset_us, taken.responder, ip_len, payload)
    return replace(flows, samples=samples)


def exchange_directions(flows: FlowBatch, rng: Generator) -> FlowBatch:
    """Exchange the directions of all packets but each record's first."""
    taken = unpack_samples(flows.samples)
    rows = np.setdiff1d(np.arange(len(flows.samples)), flows.sample_offsets)
    responder = taken.responder.copy()
    responder[rows] = taken.responder[rng.permutation(rows)]
    return replace(
        flows, samples=pack_samples(taken.offset_us, responder, taken.ip_len, taken.payload)
    )


def exchange_times(flows: FlowBatch, rng: Generator) -> FlowBatch:
    """Exchange the gaps between packets."""
    taken = unpack_samples(flows.samples)
    gaps = np.diff(taken.offset_us, prepend=0)
    later = np.setdiff1d(np.arange(len(gaps)), flows.sample_offsets)
    gaps[flows.sample_offsets[:-1][flows.packets > 0]] = 0
    gaps[later] = gaps[rng.permutation(later)]
    total = np.cumsum(gaps)
    first = np.repeat(flows.sample_offsets[:-1], flows.packets)
    offset = total - total[first] if len(total) else total
    return replace(
        flows, samples=pack_samples(offset, taken.responder, taken.ip_len, taken.payload)
    )


def without_words(flows: FlowBatch, prefix: str) -> FlowBatch:
    """Take the words ``prefix:...`` out of the records' token documents."""
    kept = [
        " ".join(word for word in document.split() if word.partition(":")[0] != prefix)
        for document in flows.documents()
    ]
    return flows.with_documents(kept)


def word_prefixes(flows: FlowBatch) -> list[str]:
    """Return what the words of token documents begin with, sorted."""
    words = {word.partition(":")[0] for document in flows.documents() for word in document.split()}
    return sorted(words)


def without_packet(flows: FlowBatch, number: int) -> FlowBatch:
    """Empty the heads of the connections' packets with this number, from 0."""
    place = np.arange(len(flows.head)) - flows.head_offsets[flows.head_rows()]
    gone = place == number
    return replace(
        flows,
        head=np.where(gone[:, None], 0, flows.head).astype(np.uint8),
        head_len=np.where(gone, 0, flows.head_len).astype(np.uint16),
    )
