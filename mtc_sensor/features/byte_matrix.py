"""The first bytes of a connection's first packets as a matrix, without what gives the label away.

Addresses, ports, sequence numbers and the like tell which machines a capture shows, not what they
do; a model that sees them learns the capture. The masks of a `ByteMatrixSpec` set to 0:

==============  ==================================================================================
addresses       IP source and destination; in ICMP other than echo everything after the checksum
                (quoted datagrams with their addresses and ports, neighbour discovery)
ports           TCP and UDP source and destination port
checksums       IPv4 header, TCP, UDP, ICMP
ip_id           IPv4 identification, IPv6 flow label
ip_options      IPv4 options, IPv6 extension headers (routes, fragment identifications)
ttl             IPv4 time to live, IPv6 hop limit
tcp_seq         TCP sequence and acknowledgement number
tcp_timestamps  value and echo of the TCP timestamp option, which tell a host's uptime
icmp_id         identifier and sequence number of ICMP echo
==============  ==================================================================================

What cannot be located cannot be masked. So with any mask on, a head that is neither IPv4 nor IPv6
is all zeros, and one without a transport header (a later fragment) keeps only its fixed IP header.

Payloads are kept as they are: addresses and names that an application writes into its own protocol
(DNS answers, FTP, SIP, SNI) remain.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.features.spec import HEAD_BYTES, ByteMatrixSpec, Mask
from mtc_sensor.flow import FlowBatch

_ICMP, _TCP, _UDP, _ICMP6 = 1, 6, 17, 58
_ECHO = {_ICMP: (8, 0), _ICMP6: (128, 129)}
_TIMESTAMP = (8, 10)
"""Kind and length of the TCP timestamp option (RFC 7323)."""

_IP_HEADER = np.zeros(16, np.int64)
_IP_HEADER[[4, 6]] = 20, 40
"""Bytes of the fixed IP header by version; 0 for what is no version."""
_IP_FIELDS: dict[int, dict[Mask, Sequence[int]]] = {
    4: {"addresses": range(12, 20), "checksums": (10, 11), "ip_id": (4, 5), "ttl": (8,)},
    6: {"addresses": range(8, 40), "ip_id": (2, 3), "ttl": (7,)},
}
_L4_FIELDS: dict[int, dict[Mask, Sequence[int]]] = {
    _TCP: {"ports": range(4), "checksums": (16, 17), "tcp_seq": range(4, 12)},
    _UDP: {"ports": range(4), "checksums": (6, 7)},
    _ICMP: {"checksums": (2, 3)},
    _ICMP6: {"checksums": (2, 3)},
}
_WIDTH = HEAD_BYTES + 20
"""Heads are worked on with a margin, so that a header that is cut off needs no bounds."""

Bytes = NDArray[np.uint8]
Index = NDArray[np.int64]


def byte_matrix(batch: FlowBatch, spec: ByteMatrixSpec) -> Bytes:
    """Build the byte matrices of all records of a batch.

    Returns
    -------
    (n, packets, bytes) uint8: row ``j`` is the connection's ``j``-th packet from its IP header on,
    zero-padded, masked fields 0. A record without heads is all zeros: choose those that have some.

    Notes
    -----
    Heads are untrusted: lengths and positions beyond a head are cut to it.
    """
    packet = np.arange(len(batch.head)) - np.repeat(batch.head_offsets[:-1], batch.heads)
    used = np.flatnonzero(packet < spec.packets)
    row = batch.head_rows()[used]
    head = _cut(batch.head[used], batch.head_len[used])
    if spec.masks:
        _hide(head, batch.head_l4[used].astype(np.int64), batch.proto[row], spec.masks)
    matrix = np.zeros((len(batch), *spec.shape), np.uint8)
    matrix[row, packet[used]] = head[:, : spec.bytes]
    return matrix


def _cut(head: Bytes, length: NDArray[np.uint16]) -> Bytes:
    """Bring heads to the working width, zeros where nothing was captured."""
    cut = np.zeros((len(head), _WIDTH), np.uint8)
    columns = min(HEAD_BYTES, head.shape[1])
    np.multiply(head[:, :columns], np.arange(columns) < length[:, None], out=cut[:, :columns])
    return cut


def _hide(head: Bytes, l4: Index, proto: NDArray[np.uint8], masks: tuple[Mask, ...]) -> None:
    """Apply `masks` to (k, `_WIDTH`) heads in place; only unmasked bytes decide what is masked."""
    version = head[:, 0] >> 4
    header = _IP_HEADER[version]
    located = (header > 0) & (header <= l4) & (l4 < HEAD_BYTES) & np.isin(proto, list(_L4_FIELDS))
    _zero_between(head, np.flatnonzero(~located), header, np.full_like(l4, _WIDTH))
    for number, ip_fields in _IP_FIELDS.items():
        _hide_ip(head, np.flatnonzero(version == number), ip_fields, masks)
    if "ip_options" in masks:
        _zero_between(head, np.flatnonzero(located & (header < l4)), header, l4)
    for number in _L4_FIELDS:
        _hide_l4(head, np.flatnonzero(located & (proto == number)), l4, number, masks)


def _hide_ip(
    head: Bytes, rows: Index, fields: dict[Mask, Sequence[int]], masks: tuple[Mask, ...]
) -> None:
    head[rows[:, None], _positions(fields, masks)] = 0
    if fields is _IP_FIELDS[6] and "ip_id" in masks:
        head[rows, 1] &= 0xF0  # the flow label's upper 4 bits share a byte with the traffic class


def _hide_l4(head: Bytes, rows: Index, l4: Index, proto: int, masks: tuple[Mask, ...]) -> None:
    head[rows[:, None], l4[rows, None] + _positions(_L4_FIELDS[proto], masks)] = 0
    if proto == _TCP and "tcp_timestamps" in masks:
        _hide_timestamps(head, rows, l4[rows])
    if proto in _ECHO:
        echo = np.isin(head[rows, l4[rows]], _ECHO[proto])
        if "icmp_id" in masks:
            _zero_between(head, rows[echo], l4 + 4, l4 + 8)
        if "addresses" in masks:
            _zero_between(head, rows[~echo], l4 + 4, np.full_like(l4, _WIDTH))


def _hide_timestamps(head: Bytes, rows: Index, l4: Index) -> None:
    """Walk the TCP options of all heads at once, one option a turn (a header has at most 40)."""
    at = l4 + 20
    end = l4 + 4 * (head[rows, l4 + 12] >> 4).astype(np.int64)
    while (inside := at < np.minimum(end, HEAD_BYTES)).any():
        rows, at, end = rows[inside], at[inside], end[inside]
        kind = head[rows, at]
        length = np.where(kind == 1, 1, head[rows, at + 1].astype(np.int64))
        found = (kind == _TIMESTAMP[0]) & (length == _TIMESTAMP[1]) & (at + length <= end)
        head[rows[found, None], at[found, None] + np.arange(2, _TIMESTAMP[1])] = 0
        at = np.where((kind == 0) | (length == 0), end, at + length)


def _positions(fields: dict[Mask, Sequence[int]], masks: tuple[Mask, ...]) -> Index:
    return np.array([at for mask in masks for at in fields.get(mask, ())], np.int64)


def _zero_between(head: Bytes, rows: Index, start: Index, end: Index) -> None:
    """Zero the bytes from `start` to before `end` (both per head) in `rows`."""
    column = np.arange(_WIDTH)
    head[rows] *= (column < start[rows, None]) | (column >= end[rows, None])
