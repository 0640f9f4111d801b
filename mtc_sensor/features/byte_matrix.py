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
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._jit import njit
from mtc_sensor.features.spec import HEAD_BYTES, PACKET_BYTES, ByteMatrixSpec, Mask, PacketBytesSpec
from mtc_sensor.flow import FlowBatch

_TCP, _UDP, _ECHO, _OTHER_ICMP, _UNKNOWN = range(5)

_IP_FIELDS: dict[int, dict[Mask, Sequence[int]]] = {
    4: {"addresses": range(12, 20), "checksums": (10, 11), "ip_id": (4, 5), "ttl": (8,)},
    6: {"addresses": range(8, 40), "ip_id": (2, 3), "ttl": (7,)},
}
"""Hidden bytes of the fixed IP header, by version; the flow label also has half of byte 1."""
_L4_FIELDS: dict[int, dict[Mask, Sequence[int]]] = {
    _TCP: {"ports": range(4), "checksums": (16, 17), "tcp_seq": range(4, 12)},
    _UDP: {"ports": range(4), "checksums": (6, 7)},
    _ECHO: {"checksums": (2, 3), "icmp_id": range(4, 8)},
    _OTHER_ICMP: {"checksums": (2, 3), "addresses": range(4, PACKET_BYTES)},
}
"""Hidden bytes from the transport header on."""

Bytes = NDArray[np.uint8]


class _Keep(NamedTuple):
    """The bits of a head that are kept: 0xFF for a byte that is not masked."""

    ip: Bytes
    """(7, 1500) of the fixed IP header, by version."""
    options: int
    """Of a byte between it and the transport header."""
    l4: Bytes
    """(4, 1500) from the transport header on, by transport."""
    unknown: int
    """Of a byte that belongs to no known header."""
    timestamps: bool


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
    return _matrix(batch, spec.shape, spec.masks)


def packet_bytes(batch: FlowBatch, spec: PacketBytesSpec, heads: NDArray[np.int64]) -> Bytes:
    """Return (k, bytes) uint8: the `heads` (their positions in the batch), masked fields 0.

    A packet begins with its IP header and is zero-padded, as in Lotfollahi, Jafari Siavoshani,
    Shirali Hossein Zade, Saberian: "Deep Packet: A Novel Approach for Encrypted Traffic
    Classification Using Deep Learning", Soft Computing 24 (2020). UDP headers are not filled up to
    the length of TCP's.
    """
    alone = replace(
        batch,
        proto=batch.proto[batch.head_rows()[heads]],
        head=batch.head[heads],
        head_len=batch.head_len[heads],
        head_l4=batch.head_l4[heads],
        head_offsets=np.arange(len(heads) + 1, dtype=np.int64),
    )
    return _matrix(alone, (1, *spec.shape), spec.masks)[:, 0]


def _matrix(batch: FlowBatch, shape: tuple[int, int], masks: tuple[Mask, ...]) -> Bytes:
    matrix = np.zeros((len(batch.proto), *shape), np.uint8)
    # Headers are looked for as far in wide heads as in those that a model of few bytes is served.
    seen = np.minimum(batch.head_len, max(HEAD_BYTES, shape[1]))
    _fill(
        matrix,
        batch.head,
        seen.astype(np.int64),
        batch.head_l4.astype(np.int64),
        batch.head_offsets,
        batch.proto,
        _kept(masks),
    )
    return matrix


@cache
def _kept(masks: tuple[Mask, ...]) -> _Keep:
    keep = _Keep(
        ip=np.full((7, PACKET_BYTES), 0xFF, np.uint8),
        options=0 if "ip_options" in masks else 0xFF,
        l4=np.full((4, PACKET_BYTES), 0xFF, np.uint8),
        unknown=0 if masks else 0xFF,
        timestamps="tcp_timestamps" not in masks,
    )
    for table, fields in ((keep.ip, _IP_FIELDS), (keep.l4, _L4_FIELDS)):
        for row, hidden in fields.items():
            for mask in masks:
                table[row, list(hidden.get(mask, ()))] = 0
    if "ip_id" in masks:
        keep.ip[6, 1] = 0xF0
    return keep


@njit
def _fill(
    matrix: Bytes,
    head: Bytes,
    length: NDArray[np.int64],
    l4: NDArray[np.int64],
    offsets: NDArray[np.int64],
    proto: Bytes,
    keep: _Keep,
) -> None:
    for row in range(len(matrix)):
        for packet in range(min(offsets[row + 1] - offsets[row], matrix.shape[1])):
            k = offsets[row] + packet
            _copy(matrix[row, packet], head[k, : length[k]], l4[k], proto[row], keep)


@njit
def _copy(out: Bytes, head: Bytes, l4: int, proto: int, keep: _Keep) -> None:
    """Copy the kept bits of a head; only bytes that are never masked decide which these are."""
    version = np.int64(head[0]) >> 4 if len(head) else 0
    header = 20 if version == 4 else 40 if version == 6 else 0
    located = 0 < header <= l4 < len(head)
    transport = _transport(proto, head[l4]) if located else _UNKNOWN
    for at in range(min(len(head), len(out))):
        if at < header:
            bits = keep.ip[version, at]
        elif transport == _UNKNOWN:
            bits = keep.unknown
        elif at < l4:
            bits = keep.options
        else:
            bits = keep.l4[transport, at - l4]
        out[at] = head[at] & bits
    if transport == _TCP and not keep.timestamps:
        _hide_timestamps(out, head, l4)


@njit
def _transport(proto: int, kind: int) -> int:
    if proto == 6:
        return _TCP
    if proto == 17:
        return _UDP
    if proto == 1:
        return _ECHO if kind in (0, 8) else _OTHER_ICMP
    if proto == 58:
        return _ECHO if kind in (128, 129) else _OTHER_ICMP
    return _UNKNOWN


@njit
def _hide_timestamps(out: Bytes, head: Bytes, l4: int) -> None:
    """Walk the TCP options: each tells where the next one is."""
    at = l4 + 20
    end = l4 + (np.int64(head[l4 + 12]) >> 4) * 4 if l4 + 12 < len(head) else 0
    while at + 1 < min(end, len(head)) and head[at] != 0:
        length = int(1 if head[at] == 1 else head[at + 1])
        if head[at] == 8 and length == 10 and at + length <= end:
            out[at + 2 : at + length] = 0
        if length == 0:
            return
        at += length
