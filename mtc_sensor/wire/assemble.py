"""From samples off the bus to a `FlowBatch`, with the decoder that pcaps go through.

Zeek's scripts send the first packets of a connection as captured, cut to their first bytes: inside
a tunnel they cannot find the connection's IP header, the decoder can. Like Zeek it believes lengths
only of packets that it has whole, so they are handed to it as if the rest were there; the rows that
it finds are then cut back to what is. A fragment is no datagram by itself: its head stays empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.capture.decode import Decoder
from mtc_sensor.capture.layers import take
from mtc_sensor.capture.packets import DecodedBatch, PacketBatch
from mtc_sensor.flow import MAX_LENGTH, FlowBatch, unpack_samples
from mtc_sensor.wire.records import Records

HEAD_BYTES = 80
"""Bytes of a head from the IP header on, as `mtc_sensor.capture.flows` keeps them."""

_SHARED = (
    "uid", "kind", "proto", "orig_h", "resp_h", "orig_p", "resp_p", "start_us", "sample_offsets",
)  # fmt: skip
_PAYLOAD = np.uint64(MAX_LENGTH)
_REST = 40 + 65535
"""As long as an IP packet may be."""
_DECODED_AT_ONCE = 1024
"""Packets: what the decoder holds of each fragment is at most `_REST` bytes."""


def to_flow_batch(parts: Sequence[Records], head_bytes: int = HEAD_BYTES) -> FlowBatch:
    """Join samples, one row each, in their order.

    Parameters
    ----------
    parts
        Samples of any streams.
    head_bytes
        Width of a head row.

    Returns
    -------
    FlowBatch
        Each packet head has a row; one in which the connection's 5-tuple is not found has a length
        of 0. Payload lengths of packets whose heads are there are those of their IP headers.
    """
    if not parts:
        return FlowBatch.empty(head_bytes)
    records = Records.concat(parts)
    batch = without_heads(records, head_bytes)
    owner = np.repeat(np.arange(len(records)), np.diff(records.head_offsets))
    packets = _packets(records, owner)
    found = _of_connection(_decode(packets), batch, owner)
    sample = _sample_of(batch, owner, records.head_offsets)
    _set_payload(batch, sample[found.packet], found)
    head, head_len, head_l4 = _cut(packets, found, head_bytes)
    return replace(
        batch,
        head=head,
        head_len=head_len,
        head_l4=head_l4,
        head_offsets=records.head_offsets,
        tokens=records.tokens,
        token_offsets=records.token_offsets,
    )


def without_heads(records: Records, head_bytes: int = HEAD_BYTES) -> FlowBatch:
    """Return samples with neither packet heads nor documents; those of `records` stay as are."""
    return replace(
        FlowBatch.empty(head_bytes),
        **{name: getattr(records, name) for name in _SHARED},
        samples=records.samples.copy(),
        head_offsets=np.zeros(len(records) + 1, np.int64),
        token_offsets=np.zeros(len(records) + 1, np.int64),
    )


def _packets(records: Records, owner: NDArray[np.int64]) -> PacketBatch:
    """Return heads as packets, which go on into what follows them."""
    length = np.diff(records.head_ends)
    return PacketBatch(
        data=np.concatenate([records.head, np.zeros(_REST, np.uint8)]),
        offset=records.head_ends[:-1],
        caplen=length + _REST,
        wirelen=length + _REST,
        ts_us=np.zeros(len(length), np.int64),
        link=records.link[owner],
    )


def _decode(packets: PacketBatch) -> DecodedBatch:
    """Return rows whose IP headers begin within the heads, cut to these."""
    end = packets.offset + packets.caplen - _REST
    parts = []
    for start in range(0, max(len(packets), 1), _DECODED_AT_ONCE):
        some = slice(start, start + _DECODED_AT_ONCE)
        chunk = {f.name: getattr(packets, f.name)[some] for f in fields(packets)[1:]}
        rows = Decoder().decode(replace(packets, **chunk))
        rows = replace(rows, packet=rows.packet + start)
        captured = np.minimum(rows.ip_captured, end[rows.packet] - rows.ip_offset)
        parts.append(take(replace(rows, ip_captured=captured), captured > 0))
    columns = [[getattr(part, f.name) for part in parts] for f in fields(DecodedBatch)]
    return DecodedBatch(*map(np.concatenate, columns))


def _of_connection(rows: DecodedBatch, batch: FlowBatch, owner: NDArray[np.int64]) -> DecodedBatch:
    """Return of each packet the first row of its connection's 5-tuple; `owner` (k,) says whose."""
    of = owner[rows.packet]
    orig, resp = _ends(batch.orig_h, batch.orig_p)[of], _ends(batch.resp_h, batch.resp_p)[of]
    src, dst = _ends(rows.src, rows.sport), _ends(rows.dst, rows.dport)
    there = (src == orig).all(1) & (dst == resp).all(1)
    back = (src == resp).all(1) & (dst == orig).all(1)
    matches = np.flatnonzero((there | back) & (rows.proto == batch.proto[of]))
    _, first = np.unique(rows.packet[matches], return_index=True)
    return take(rows, matches[first])


def _ends(address: NDArray[np.uint8], port: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Return (n, 18) an address and its port."""
    return np.column_stack([address, port.astype(">u2").view(np.uint8).reshape(-1, 2)])


def _cut(
    packets: PacketBatch, found: DecodedBatch, width: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint16], NDArray[np.uint16]]:
    """Return (k, width) the packets from the `found` IP headers on, lengths and L4 offsets."""
    head = np.zeros((len(packets), width), np.uint8)
    length, l4 = np.zeros((2, len(packets)), np.uint16)
    captured = np.minimum(found.ip_captured, width)
    columns = np.arange(width)
    # Never beyond the buffer: something of `_REST` bytes, more than a row, follows the last head.
    rows = packets.data[found.ip_offset[:, None] + columns]
    head[found.packet] = np.where(columns < captured[:, None], rows, 0)
    length[found.packet] = captured
    l4[found.packet] = np.where(found.l4_offset < captured, found.l4_offset, 0)
    return head, length, l4


def _sample_of(
    batch: FlowBatch, owner: NDArray[np.int64], head_offsets: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return (k,) the sample of each head's packet, or -1 where an earlier record had it.

    An early has as many heads as samples. A final with heads ends a connection too short for an
    early: its samples are those of the last heads.
    """
    back = head_offsets[owner + 1] - np.arange(len(owner))
    sample = batch.sample_offsets[owner + 1] - back
    return np.where(sample >= batch.sample_offsets[owner], sample, -1)


def _set_payload(batch: FlowBatch, sample: NDArray[np.int64], found: DecodedBatch) -> None:
    """Set the payload length of samples to that of their datagrams, if these are theirs."""
    known = np.flatnonzero(sample >= 0)
    sample, found = sample[known], take(found, known)
    ip_len = unpack_samples(batch.samples[sample]).ip_len
    # A header without a length (TCP segmentation offload) tells nothing: here the rest is made up.
    same = (ip_len == np.minimum(found.ip_len, MAX_LENGTH)) & (ip_len > 0)
    payload = np.clip(found.payload[same], 0, MAX_LENGTH).astype(np.uint64)
    batch.samples[sample[same]] = batch.samples[sample[same]] & ~_PAYLOAD | payload
