"""From samples off the bus to a `FlowBatch`, with the decoder that pcaps go through.

Zeek's scripts send the first packets of a connection as captured, cut to their first bytes: inside
a tunnel they cannot find the connection's IP header, the decoder can. Like Zeek it believes lengths
only of packets that it has whole, so they are handed to it as if the rest were there; the rows that
it finds are then cut back to what is. A fragment is no datagram by itself: its head stays empty.
Heads without a tunnel or anything else in between, nearly all, are cut by `_heads` instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.capture.decode import Decoder
from mtc_sensor.capture.layers import take
from mtc_sensor.capture.packets import DecodedBatch, PacketBatch
from mtc_sensor.capture.transport import ANSWERS, ICMP, ICMPV6, UDP
from mtc_sensor.flow import MAX_LENGTH, FlowBatch, is_ipv4, unpack_samples
from mtc_sensor.wire._heads import cut_heads
from mtc_sensor.wire._payloads import set_payloads
from mtc_sensor.wire.records import Records

HEAD_BYTES = 80
"""Bytes of a head from the IP header on, as `mtc_sensor.capture.flows` keeps them."""

_SHARED = (
    "uid", "kind", "proto", "orig_h", "resp_h", "orig_p", "resp_p", "start_us", "sample_offsets",
)  # fmt: skip
_RAGGED = ("head_offsets", "tokens", "token_offsets")
_ANSWERS = np.stack([ANSWERS[ICMP], ANSWERS[ICMPV6]])
_PAYLOAD = np.uint64(MAX_LENGTH)
_REST = 40 + 65535
"""As long as an IP packet may be."""
_IPV4, _IPV6, _TCP, _UDP = 20, 40, 20, 8
"""Bytes of headers without options."""
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
    count = len(records.head_ends) - 1
    batch = FlowBatch(
        **{name: getattr(records, name) for name in (*_SHARED, *_RAGGED)},
        samples=_with_payloads(records),
        head=np.zeros((count, head_bytes), np.uint8),
        head_len=np.zeros(count, np.uint16),
        head_l4=np.zeros(count, np.uint16),
    )
    unusual = np.flatnonzero(_cut_usual(records, batch))
    if unusual.size:
        _cut_unusual(records, batch, unusual)
    return batch


def without_heads(records: Records, head_bytes: int = HEAD_BYTES) -> FlowBatch:
    """Return samples with neither packet heads nor documents; those of `records` stay as are."""
    return replace(
        FlowBatch.empty(head_bytes),
        **{name: getattr(records, name) for name in _SHARED},
        samples=_with_payloads(records),
        head_offsets=np.zeros(len(records) + 1, np.int64),
        token_offsets=np.zeros(len(records) + 1, np.int64),
    )


def _with_payloads(records: Records) -> NDArray[np.uint64]:
    """Return a copy of the samples in which payload is that of each packet."""
    samples = records.samples.copy()
    ip = np.where(is_ipv4(records.orig_h), _IPV4, _IPV6)
    least = ip + np.where(records.proto == UDP, _UDP, _TCP)
    set_payloads(samples, records.sample_offsets, _plain(records.proto), least)
    return samples


def _cut_usual(records: Records, batch: FlowBatch) -> NDArray[np.bool_]:
    """Fill the head rows that `cut_heads` can read; return (k,) which it cannot."""
    unusual = np.zeros(len(batch.head), np.bool_)
    cut_heads(
        _plain(records.head),
        records.head_ends,
        records.head_offsets,
        records.sample_offsets,
        records.link,
        _plain(records.proto),
        (_plain(records.orig_h), _plain(records.orig_p)),
        (_plain(records.resp_h), _plain(records.resp_p)),
        _ANSWERS,
        batch.samples,
        batch.head,
        batch.head_len,
        batch.head_l4,
        unusual,
    )
    return unusual


def _plain(column: NDArray[Any]) -> NDArray[Any]:
    """Return a column as it mostly is: for each other layout there would be other machine code."""
    plain = column.flags.c_contiguous and column.flags.writeable
    return column if plain else column.copy()


def _cut_unusual(records: Records, batch: FlowBatch, heads: NDArray[np.int64]) -> None:
    """Fill the rows of `heads` (u,) with what the decoder finds in them."""
    owner = np.repeat(np.arange(len(records)), np.diff(records.head_offsets))[heads]
    packets = _packets(records, heads, owner)
    found = _of_connection(_decode(packets), batch, owner)
    _set_payload(batch, _sample_of(batch, heads, owner)[found.packet], found)
    _cut(packets, found, batch, heads[found.packet])


def _packets(records: Records, heads: NDArray[np.int64], owner: NDArray[np.int64]) -> PacketBatch:
    """Return heads as packets, which go on into what follows them."""
    offset = records.head_ends[heads]
    length = records.head_ends[heads + 1] - offset
    return PacketBatch(
        data=np.concatenate([records.head, np.zeros(_REST, np.uint8)]),
        offset=offset,
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
    packets: PacketBatch, found: DecodedBatch, batch: FlowBatch, heads: NDArray[np.int64]
) -> None:
    """Set the rows of `heads` to the packets from the `found` IP headers on."""
    width = batch.head.shape[1]
    captured = np.minimum(found.ip_captured, width)
    columns = np.arange(width)
    # Never beyond the buffer: something of `_REST` bytes, more than a row, follows the last head.
    rows = packets.data[found.ip_offset[:, None] + columns]
    batch.head[heads] = np.where(columns < captured[:, None], rows, 0)
    batch.head_len[heads] = captured
    batch.head_l4[heads] = np.where(found.l4_offset < captured, found.l4_offset, 0)


def _sample_of(
    batch: FlowBatch, heads: NDArray[np.int64], owner: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return (u,) the sample of each head's packet, or -1 where an earlier record had it.

    An early has as many heads as samples. A final with heads ends a connection too short for an
    early: its samples are those of the last heads.
    """
    sample = batch.sample_offsets[owner + 1] - (batch.head_offsets[owner + 1] - heads)
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
