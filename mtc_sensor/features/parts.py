"""Parts of models' inputs: boxes of values that can be taken away, and what they are called."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtc_sensor.features.flowpic import flowpic_indices
from mtc_sensor.features.payload import PARTS
from mtc_sensor.features.spec import (
    ByteMatrixSpec,
    FlowPicSpec,
    InputSpec,
    PacketBytesSpec,
    PayloadSpec,
    SizesSpec,
    TokensSpec,
)
from mtc_sensor.flow import FlowBatch

_CELLS = 4
"""A picture is cut into so many parts of sizes and of times."""
_PIECES = ("IP header", "transport header", "payload bytes 0-15", "payload from byte 16")
_FIRST = 16
"""Bytes of a payload that are a piece by themselves."""
_TCP, _UDP_HEADER = 6, 8
_DATA_OFFSET = 12
_GROUPS = (*PARTS, "4-grams")

Ints = NDArray[np.int64]


class Parts(NamedTuple):
    """Parts of inputs of ``d`` axes, input after input: ``p`` boxes that share no value."""

    spec: InputSpec
    """What the inputs are."""
    input: Ints
    """(p,) which input, not decreasing."""
    begin: Ints
    """(p, d) where the box begins on each axis."""
    end: Ints
    """(p, d) where it ends."""
    of: Ints
    """(p,) which packet or window of the record, or which group of columns; 0 for words."""
    piece: Ints
    """(p,) which of a packet's named pieces; -1 for other parts."""

    def take(self, which: NDArray[np.bool_] | slice) -> Parts:
        """Return some of them, in order."""
        return Parts(self.spec, *(column[which] for column in self[1:]))

    def after_nothing(self, inputs: int) -> Parts:
        """Return them after an empty part of each of `inputs` inputs."""
        zero, box = np.zeros(inputs, np.int64), np.zeros((inputs, self.begin.shape[1]), np.int64)
        first = (np.arange(inputs), box, box, zero, zero)
        columns = zip(first, self[1:], strict=True)
        return Parts(self.spec, *(np.concatenate(pair) for pair in columns))

    def where(self, at: int) -> tuple[int | slice, ...]:
        """Return the index of a part's values in the inputs."""
        box = zip(self.begin[at].tolist(), self.end[at].tolist(), strict=True)
        return int(self.input[at]), *(slice(begin, end) for begin, end in box)

    def name(self, at: int) -> str:
        """Return a part's name, printable ASCII."""
        spec, of, piece = self.spec, int(self.of[at]), int(self.piece[at])
        begin, end = self.begin[at].tolist(), self.end[at].tolist()
        if isinstance(spec, ByteMatrixSpec | PacketBytesSpec):
            evenly = f"bytes {begin[-1]}-{end[-1] - 1}"
            return f"packet {of + 1} {evenly if piece < 0 else _PIECES[piece]}"
        if isinstance(spec, FlowPicSpec):
            return _region(spec, of * spec.window_s, begin, end)
        if isinstance(spec, SizesSpec):
            return f"packet {of + 1}"
        if isinstance(spec, PayloadSpec):
            return _GROUPS[of]
        words = spec.vocabulary
        statistic = f"statistic {begin[0] - len(words) + 1}"
        return words[begin[0]] if begin[0] < len(words) else statistic


def parts_of(
    spec: InputSpec, batch: FlowBatch, chosen: Ints, inputs: Tensor, fine: int = 0
) -> Parts:
    """Cut inputs into parts; those that hold nothing are left out.

    Parameters
    ----------
    spec
        What the inputs are.
    batch
        The records that give them.
    chosen
        (w,) their numbers among all that `inputs_of` gives for `batch`; all, where a record gives
        one.
    inputs
        (w, ...) the inputs.
    fine
        Size of a part: bytes of a packet, or cells of a picture either way; 0 for headers and
        payloads, and sixteenths of pictures.
    """
    if isinstance(spec, ByteMatrixSpec | PacketBytesSpec):
        parts = _pieces(spec, batch, chosen, fine)
    elif isinstance(spec, FlowPicSpec):
        parts = _regions(spec, flowpic_indices(batch, spec).window[chosen], fine)
    elif isinstance(spec, TokensSpec):
        parts = _words(spec, inputs)
    else:
        parts = _groups(spec, len(inputs))
    return parts.take(_filled(inputs, parts))


def without(inputs: Tensor, parts: Parts) -> Tensor:
    """Return (p, ...) each part's input, the values of the part set to 0."""
    axes = inputs.ndim - 1
    inside = np.ones((len(parts.input), *[1] * axes), np.bool_)
    for axis, size in enumerate(inputs.shape[1:]):
        at, begin, end = np.arange(size), parts.begin[:, axis, None], parts.end[:, axis, None]
        along = [size if axis == other else 1 for other in range(axes)]
        inside = inside & ((begin <= at) & (at < end)).reshape(-1, *along)
    outside = torch.from_numpy(~inside).to(inputs.device)
    return inputs[torch.from_numpy(parts.input).to(inputs.device)] * outside


def _filled(inputs: Tensor, parts: Parts) -> NDArray[np.bool_]:
    """Return (p,) whether parts hold anything.

    What a box holds is added up from the boxes between the origin and its corners: Crow,
    "Summed-Area Tables for Texture Mapping", SIGGRAPH 1984.
    """
    axes = inputs.ndim - 1
    sums = np.pad((inputs != 0).cpu().numpy(), [(0, 0), *[(1, 0)] * axes]).astype(np.int32)
    for axis in range(1, axes + 1):
        np.cumsum(sums, axis=axis, out=sums)
    held = np.zeros(len(parts.input), np.int64)
    for corner in product((False, True), repeat=axes):
        edges = np.where(corner, parts.end, parts.begin)
        held += (-1) ** (axes - sum(corner)) * sums[(parts.input, *edges.T)]
    return held > 0


def _pieces(
    spec: ByteMatrixSpec | PacketBytesSpec, batch: FlowBatch, chosen: Ints, fine: int
) -> Parts:
    """Cut packets, which are rows of one input or an input each."""
    row = batch.head_rows()
    packet = np.arange(len(row)) - batch.head_offsets[row]
    rows = isinstance(spec, ByteMatrixSpec)
    heads = np.flatnonzero(packet < spec.shape[0]) if rows else chosen
    begin, end = _cut(batch, row, heads, spec.bytes, fine)
    head, piece = np.nonzero(begin < end)
    begin, end, of = begin[head, piece, None], end[head, piece, None], packet[heads[head]]
    if rows:
        begin, end = np.column_stack([of, begin]), np.column_stack([of + 1, end])
    which = row[heads[head]] if rows else head
    return Parts(spec, which, begin, end, of, np.full_like(piece, -1) if fine else piece)


def _cut(batch: FlowBatch, row: Ints, heads: Ints, width: int, fine: int) -> tuple[Ints, Ints]:
    """Return (heads, pieces) begins and ends: of headers and payload, or even ones."""
    length = np.minimum(batch.head_len[heads], width).astype(np.int64)[:, None]
    if fine:
        begin = np.arange(0, width, fine) + np.zeros_like(length)
        return begin, np.minimum(begin + fine, length)
    transport = batch.head_l4[heads].astype(np.int64)[:, None]
    transport = np.where(transport > 0, transport, length)
    at = transport[:, 0] + _DATA_OFFSET
    tcp = (batch.proto[row[heads]] == _TCP) & (at < batch.head.shape[1])
    offset = batch.head[heads, np.where(tcp, at, 0)].astype(np.int64) >> 4
    payload = transport + np.where(tcp, offset * 4, _UDP_HEADER)[:, None]
    edges = [np.zeros_like(length), transport, payload, payload + _FIRST, length]
    begin = np.concatenate(edges[:-1], axis=1)
    return begin, np.minimum(np.concatenate(edges[1:], axis=1), length)


def _regions(spec: FlowPicSpec, window: Ints, fine: int) -> Parts:
    """Cut pictures of windows into squares."""
    side = fine or -(-spec.resolution // _CELLS)
    starts = range(0, spec.resolution, side)
    begin = np.array(list(product(range(spec.channels), starts, starts)))
    end = np.minimum(np.add(begin, (1, side, side)), spec.shape)
    return _everywhere(spec, begin, end, np.repeat(window, len(begin)))


def _groups(spec: SizesSpec | PayloadSpec, count: int) -> Parts:
    """Cut inputs into packets, or into groups of columns."""
    if isinstance(spec, SizesSpec):
        begin = np.column_stack([np.arange(spec.packets), np.zeros(spec.packets, np.int64)])
        end = np.add(begin, (1, spec.shape[1]))
    else:
        edges = np.array([0, *PARTS.values(), spec.shape[0]])[:, None]
        begin, end = edges[:-1], edges[1:]
    return _everywhere(spec, begin, end, np.tile(np.arange(len(begin)), count))


def _everywhere(spec: InputSpec, begin: Ints, end: Ints, of: Ints) -> Parts:
    """Return the same boxes of every input."""
    count = len(of) // len(begin)
    which = np.repeat(np.arange(count), len(begin))
    begin, end = np.tile(begin, (count, 1)), np.tile(end, (count, 1))
    return Parts(spec, which, begin, end, of, np.full_like(of, -1))


def _words(spec: TokensSpec, inputs: Tensor) -> Parts:
    row, column = np.nonzero(inputs.cpu().numpy())
    none = np.zeros_like(row)
    return Parts(spec, row, column[:, None], column[:, None] + 1, none, none - 1)


def _region(spec: FlowPicSpec, begin_s: float, begin: list[int], end: list[int]) -> str:
    size, time = spec.max_size / spec.resolution, spec.window_s / spec.resolution
    who = ("originator ", "responder ")[begin[0]] if spec.direction else ""
    return (
        f"{who}packets of {begin[1] * size:.0f}-{end[1] * size:.0f} bytes at "
        f"{begin_s + begin[2] * time:.3g}-{begin_s + end[2] * time:.3g} s"
    )
