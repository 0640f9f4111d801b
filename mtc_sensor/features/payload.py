"""What the first packets say: sizes and gaps, statistics of either side's first bytes, 4-grams.

A record's heads give the first bytes that the originator and the responder sent, each a stream of
at most `STREAM`; repeated TCP segments count once. Of headers only lengths and the protocol are
looked at: neither addresses, ports and sequence numbers nor what an operating system chooses
(window, options, TTL, DF). Who sent a packet, and when, is what the record's samples say.

Columns, in this order: the IP lengths of the first 8 packets, their payload lengths (both negative
if the responder sent it) and ln(1 + gap in us); the first 6 payload lengths that are not 0;
packets, packets with payload, those of either side, payload bytes of either side, packets of the
originator; the protocol; who sends payload first; of either side the stream's length, its first 8
bytes (-1 past its end) and, of its first 16, 64 and 256 bytes, entropy (bits) and the shares of
printable, zero, high, letter and digit bytes (-1 if it sent nothing); then for each 4-gram of the
vocabulary whether the stream contains it.

4-grams are known by `GRAM_BITS` bits of a multiplicative hash (Knuth, The Art of Computer
Programming 3, 6.4) and one for the side: a vocabulary holds no bytes of anybody's traffic.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._jit import njit
from mtc_sensor.features.spec import GRAM_BITS, HEAD_PACKETS, PAYLOAD_STATISTICS, PayloadSpec
from mtc_sensor.flow import FlowBatch, unpack_samples

STREAM = 512
"""Bytes of either side's stream that are kept."""
PARTS = {
    "IP lengths": 8,
    "payload lengths": 16,
    "gaps": 24,
    "first payload lengths": 30,
    "counts and protocol": 39,
    "originator's bytes": 66,
    "responder's bytes": 93,
}
"""Groups of the statistics -> the column after their last."""
_DATA, _FIRST, _SPANS = 6, 8, (16, 64, 256)
_SHARES = 5
_SIDE = 1 + _FIRST + (1 + _SHARES) * len(_SPANS)
_GRAM = 4
_KNUTH = np.uint64(2654435761)
_LOW, _BYTE = np.uint64(0xFFFFFFFF), np.uint64(8)
_SHIFT, _SIDE_BIT = np.uint64(32 - GRAM_BITS), np.uint64(1 << GRAM_BITS)
_TCP, _UDP = 6, 17
_LEAST_HEAD = 20
_V6_HEADER = 40

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Counts = NDArray[np.int64]


def payload(batch: FlowBatch, spec: PayloadSpec) -> Floats:
    """Return (n, 93 + vocabulary) float32, the columns as above."""
    stream, length, packets = streams(batch, spec.bytes)
    found = np.zeros((len(batch), *spec.shape), np.float32)
    count = PAYLOAD_STATISTICS - 2 * _SIDE
    found[:, :count] = _of_packets(packets, batch.proto)
    _describe(found[:, count:PAYLOAD_STATISTICS], stream, length)
    _mark(found[:, PAYLOAD_STATISTICS:], stream, length, _columns(spec.vocabulary))
    return found


def streams(batch: FlowBatch, head_bytes: int) -> tuple[Bytes, Counts, Floats]:
    """Return what either side sent first, of heads cut to `head_bytes`.

    Returns
    -------
    (n, 2, 512) uint8 streams, (n, 2) their lengths, and (n, 8, 3) of each packet IP length, payload
    length, and ln(1 + gap)
    """
    n = len(batch)
    stream, length = np.zeros((n, 2, STREAM), np.uint8), np.zeros((n, 2), np.int64)
    packets = np.zeros((n, HEAD_PACKETS, 3), np.float32)
    samples = unpack_samples(batch.samples)
    held = np.minimum(batch.head_len.astype(np.int64), min(head_bytes, batch.head.shape[1]))
    _read(
        stream, length, packets, batch.head, held, batch.head_l4.astype(np.int64),
        batch.head_offsets, samples.offset_us.astype(np.int64), samples.responder,
        batch.sample_offsets, batch.proto,
    )  # fmt: skip
    return stream, length, packets


def grams(batch: FlowBatch, head_bytes: int) -> tuple[Counts, Counts]:
    """Return the record and the number of every 4-gram that a record has, each once."""
    stream, length, _ = streams(batch, head_bytes)
    wide = stream.astype(np.uint64)
    code = np.zeros((len(batch), 2, STREAM - _GRAM + 1), np.uint64)
    for at in range(_GRAM):
        code = code << _BYTE | wide[:, :, at : STREAM - _GRAM + 1 + at]
    number = (code * _KNUTH & _LOW) >> _SHIFT
    number[:, 1] |= _SIDE_BIT
    there = np.arange(code.shape[2]) < length[..., None] - _GRAM + 1
    row = np.broadcast_to(np.arange(len(batch))[:, None, None], there.shape)[there]
    pairs = np.unique(row << (GRAM_BITS + 1) | number[there].astype(np.int64))
    return pairs >> (GRAM_BITS + 1), pairs & ((1 << (GRAM_BITS + 1)) - 1)


@lru_cache(maxsize=8)
def _columns(vocabulary: tuple[int, ...]) -> NDArray[np.int16]:
    """Return the column of every possible 4-gram, -1 for those that the vocabulary has not."""
    columns = np.full(1 << (GRAM_BITS + 1), -1, np.int16)
    columns[list(vocabulary)] = np.arange(len(vocabulary))
    return columns


def _of_packets(packets: Floats, proto: Bytes) -> Floats:
    size = packets[:, :, 1]
    order = np.argsort(size == 0, axis=1, kind="stable")[:, :_DATA]
    data = np.take_along_axis(size, order, 1)
    up, down = size > 0, size < 0
    counts = [
        (packets[:, :, 0] != 0).sum(1), (up | down).sum(1), up.sum(1), down.sum(1),
        np.where(up, size, 0).sum(1), np.where(down, size, 0).sum(1), (packets[:, :, 0] > 0).sum(1),
        proto, np.sign(data[:, 0]),
    ]  # fmt: skip
    each = packets.transpose(0, 2, 1).reshape(len(packets), 3 * HEAD_PACKETS)
    return np.column_stack([each, data, *counts]).astype(np.float32)


@njit
def _read(
    stream: Bytes,
    length: Counts,
    packets: Floats,
    head: Bytes,
    held: Counts,
    l4: Counts,
    offsets: Counts,
    time: Counts,
    responder: NDArray[np.bool_],
    sample_offsets: Counts,
    proto: Bytes,
) -> None:
    for row in range(len(stream)):
        begins = np.zeros(HEAD_PACKETS, np.int64)
        heads, first = offsets[row + 1] - offsets[row], sample_offsets[row]
        # samples that an earlier record had are those of the first heads
        missing, last = max(0, heads - (sample_offsets[row + 1] - first)), np.int64(0)
        for j in range(missing, min(heads, HEAD_PACKETS)):
            k, sample = offsets[row] + j, first + j - missing
            if held[k] < _LEAST_HEAD or not 0 < l4[k] < held[k]:
                continue
            six = head[k, 0] >> 4 == 6
            if six and held[k] < _V6_HEADER:
                continue
            total = _short(head[k], 4) + _V6_HEADER if six else _short(head[k], 2)
            side = np.int64(responder[sample])
            begin = _payload_begin(head[k], held[k], l4[k], proto[row])
            size, sign = (total - begin) * (total > begin), 1 - 2 * side
            packets[row, j, 0], packets[row, j, 1] = sign * total, sign * size
            packets[row, j, 2] = np.log1p(max(0, time[sample] - last))
            last = time[sample]
            begins[j] = begin if size and proto[row] == _TCP else 0
            if begins[j] and _is_repeated(packets[row], head, held, offsets[row], begins, j):
                continue
            room = min(held[k], total, begin + STREAM - length[row, side])
            for at in range(begin, room):
                stream[row, side, length[row, side]] = head[k, at]
                length[row, side] += 1


@njit
def _short(head: Bytes, at: int) -> np.int64:
    return np.int64(head[at]) << 8 | np.int64(head[at + 1])


@njit
def _payload_begin(head: Bytes, held: int, l4: int, proto: int) -> np.int64:
    if proto == _UDP:
        return np.int64(l4 + 8)
    if proto == _TCP and l4 + 12 < held:
        return l4 + (np.int64(head[l4 + 12]) >> 4) * 4
    return np.int64(held if proto == _TCP else l4)


@njit
def _is_repeated(
    packets: Floats, head: Bytes, held: Counts, first: int, begins: Counts, j: int
) -> bool:
    """Tell whether an earlier packet of the side has the same payload, as far as it is held."""
    for i in range(j):
        if begins[i] and packets[i, 1] == packets[j, 1]:
            said = head[first + i, begins[i] : held[first + i]]
            again = head[first + j, begins[j] : held[first + j]]
            if len(said) == len(again) and (said == again).all():
                return True
    return False


@njit
def _describe(found: Floats, stream: Bytes, length: Counts) -> None:
    for row in range(len(stream)):
        for side in range(2):
            _describe_side(
                found[row, side * _SIDE : (side + 1) * _SIDE], stream[row, side], length[row, side]
            )


@njit
def _describe_side(found: Floats, stream: Bytes, length: int) -> None:
    found[:] = -1
    found[0] = length
    for at in range(min(_FIRST, length)):
        found[1 + at] = stream[at]
    counts, shares = np.zeros(256, np.int64), np.zeros(_SHARES, np.int64)
    done = 0
    for part in range(len(_SPANS) if length else 0):
        total = min(_SPANS[part], length)
        for at in range(done, total):
            counts[stream[at]] += 1
            _count_kinds(shares, stream[at])
        done = total
        surprise = 0.0
        for at in range(total):
            surprise -= np.log2(counts[stream[at]] / total)
        column = 1 + _FIRST + part * (1 + _SHARES)
        found[column] = surprise / total
        for kind in range(_SHARES):
            found[column + 1 + kind] = shares[kind] / total


@njit
def _count_kinds(shares: Counts, byte: int) -> None:
    shares[0] += 32 <= byte < 127 or byte in (10, 13)
    shares[1] += byte == 0
    shares[2] += byte >= 128
    shares[3] += 97 <= byte | 32 <= 122
    shares[4] += 48 <= byte < 58


@njit
def _mark(found: Floats, stream: Bytes, length: Counts, columns: NDArray[np.int16]) -> None:
    for row in range(len(stream)):
        for side in range(2):
            code = np.uint64(0)
            for at in range(length[row, side]):
                code = (code << _BYTE | np.uint64(stream[row, side, at])) & _LOW
                if at >= _GRAM - 1:
                    number = (code * _KNUTH & _LOW) >> _SHIFT | np.uint64(side) * _SIDE_BIT
                    column = columns[number]
                    if column >= 0:
                        found[row, column] = 1
