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
from mtc_sensor.wire.events import Sample
from mtc_sensor.wire.values import Address, Proto, map_address

HEAD_BYTES = 80
"""Bytes of a head from the IP header on, as `mtc_sensor.capture.flows` keeps them."""

_PROTOCOLS = {
    (Proto.TCP, 4): 6,
    (Proto.TCP, 6): 6,
    (Proto.UDP, 4): 17,
    (Proto.UDP, 6): 17,
    (Proto.ICMP, 4): 1,
    (Proto.ICMP, 6): 58,
}
_PAYLOAD = np.uint64(MAX_LENGTH)
_REST = 40 + 65535
"""As long as an IP packet may be."""
_DECODED_AT_ONCE = 1024
"""Packets: what the decoder holds of each fragment is at most `_REST` bytes."""


def to_flow_batch(samples: Sequence[Sample], head_bytes: int = HEAD_BYTES) -> FlowBatch:
    """Join samples, one row each, in their order.

    Parameters
    ----------
    samples
        As `mtc_sensor.wire.events.decode` gives them.
    head_bytes
        Width of a head row.

    Returns
    -------
    FlowBatch
        Each packet head has a row; one in which the connection's 5-tuple is not found has a length
        of 0. Payload lengths of packets whose heads are there are those of their IP headers.
    """
    batch = without_heads(samples, head_bytes).with_documents([s.tokens for s in samples])
    head_offsets = _offsets([len(sample.head) for sample in samples])
    owner = np.repeat(np.arange(len(samples)), np.diff(head_offsets))
    heads = [head for sample in samples for head in sample.head]
    packets = _packets(heads, [sample.link for sample in samples for _ in sample.head])
    found = _of_connection(_decode(packets), batch, owner)
    _set_payload(batch, _sample_of(batch, owner, head_offsets)[found.packet], found)
    head, head_len, head_l4 = _cut(packets, found, head_bytes)
    return replace(batch, head=head, head_len=head_len, head_l4=head_l4, head_offsets=head_offsets)


def without_heads(samples: Sequence[Sample], head_bytes: int = HEAD_BYTES) -> FlowBatch:
    """Join samples, one row each, with neither packet heads nor documents."""
    protocols = [_PROTOCOLS[sample.orig_p.proto, sample.orig_h.version] for sample in samples]
    return replace(
        FlowBatch.empty(head_bytes),
        uid=np.array([sample.uid for sample in samples], "S24"),
        kind=np.array([sample.kind for sample in samples], np.uint8),
        proto=np.array(protocols, np.uint8),
        orig_h=_addresses([sample.orig_h for sample in samples]),
        resp_h=_addresses([sample.resp_h for sample in samples]),
        orig_p=np.array([sample.orig_p.number for sample in samples], np.uint16),
        resp_p=np.array([sample.resp_p.number for sample in samples], np.uint16),
        start_us=np.array([sample.start_us for sample in samples], np.int64),
        samples=np.concatenate([np.empty(0, np.uint64), *(sample.samples for sample in samples)]),
        sample_offsets=_offsets([len(sample.samples) for sample in samples]),
        head_offsets=np.zeros(len(samples) + 1, np.int64),
        token_offsets=np.zeros(len(samples) + 1, np.int64),
    )


def _addresses(addresses: Sequence[Address]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(map(map_address, addresses)), np.uint8).reshape(-1, 16)


def _offsets(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.cumsum([0, *lengths], dtype=np.int64)


def _packets(heads: Sequence[bytes], links: Sequence[int]) -> PacketBatch:
    """Return heads as packets, which go on into what follows them."""
    length = np.array([len(head) for head in heads], np.int64)
    return PacketBatch(
        data=np.frombuffer(b"".join([*heads, bytes(_REST)]), np.uint8),
        offset=np.cumsum(length) - length,
        caplen=length + _REST,
        wirelen=length + _REST,
        ts_us=np.zeros(len(heads), np.int64),
        link=np.array(links, np.int32),
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
    rows, columns = np.nonzero(np.arange(width) < captured[:, None])
    head[found.packet[rows], columns] = packets.data[found.ip_offset[rows] + columns]
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
