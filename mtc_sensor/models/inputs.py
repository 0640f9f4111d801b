"""Inputs of models, built from records when they are asked for: one code for training and serving.

A record gives one input, or several (a picture of each window, each packet's bytes), or none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtc_sensor.features.byte_matrix import byte_matrix, packet_bytes
from mtc_sensor.features.flowpic import flowpic_indices
from mtc_sensor.features.payload import payload
from mtc_sensor.features.sizes import sizes
from mtc_sensor.features.spec import (
    ByteMatrixSpec,
    FlowPicSpec,
    InputSpec,
    PacketBytesSpec,
    PayloadSpec,
    SizesSpec,
)
from mtc_sensor.features.tokens import tokens
from mtc_sensor.flow import FlowBatch, take_ragged
from mtc_sensor.models.device import moved
from mtc_sensor.models.sparse import counted

Rows = NDArray[np.int64]

CPU = torch.device("cpu")


class Inputs(Protocol):
    """The inputs that the records of a batch give."""

    rows: Rows
    """(w,) the record of each input, not decreasing."""
    one_each: bool
    """Whether `rows` is 0, 1, 2, ...: one input for each record."""

    def take(self, which: Rows, device: torch.device = CPU) -> Tensor:
        """Return (len(which), *shape) inputs by their numbers, which may repeat."""
        ...


def inputs_of(batch: FlowBatch, spec: InputSpec) -> Inputs:
    """Say which inputs a batch gives; they are built when taken."""
    if isinstance(spec, FlowPicSpec):
        return Pictures(batch, spec)
    if isinstance(spec, PacketBytesSpec):
        return _Packets(batch, spec)
    if isinstance(spec, ByteMatrixSpec):
        return _Records(batch, lambda part: byte_matrix(part, spec))
    if isinstance(spec, PayloadSpec):
        return _Records(batch, lambda part: payload(part, spec))
    if isinstance(spec, SizesSpec):
        return _Records(batch, lambda part: sizes(part, spec))
    return _Records(batch, lambda part: tokens(part, spec))


def chunks(count: int, shape: tuple[int, ...], values: int) -> Iterator[slice]:
    """Cut `count` inputs into slices of a power of two, of at most `values` values (or one)."""
    size = 1 << max(0, (values // math.prod(shape)).bit_length() - 1)
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


class _Records:
    """One input for each record."""

    one_each = True

    def __init__(self, batch: FlowBatch, build: Callable[[FlowBatch], NDArray[Any]]) -> None:
        self._batch, self._build = batch, build
        self.rows = np.arange(len(batch))

    def take(self, which: Rows, device: torch.device = CPU) -> Tensor:
        batch = self._batch if np.array_equal(which, self.rows) else self._batch.take(which)
        return moved(self._build(batch), device)


class _Packets:
    """One input for each head."""

    one_each = False

    def __init__(self, batch: FlowBatch, spec: PacketBytesSpec) -> None:
        self._batch, self._spec = batch, spec
        self.rows = batch.head_rows()

    def take(self, which: Rows, device: torch.device = CPU) -> Tensor:
        return moved(packet_bytes(self._batch, self._spec, which), device)


class Pictures:
    """One input for each window that has packets; they are counted on the device."""

    one_each = False

    def __init__(self, batch: FlowBatch, spec: FlowPicSpec) -> None:
        self._index = flowpic_indices(batch, spec)
        self._shape = spec.shape
        self.rows = self._index.rows
        ends = np.arange(len(self.rows) + 1)
        self._offsets = np.searchsorted(self._index.picture, ends).astype(np.int64)

    def take(self, which: Rows, device: torch.device = CPU) -> Tensor:
        """Return (len(which), *shape) counts."""
        cells = len(which) * math.prod(self._shape)
        counts = torch.bincount(self._positions(which, device), minlength=cells)
        return counts.view(-1, *self._shape)

    def sparse(self, which: Rows, device: torch.device = CPU) -> Tensor:
        """Return what `take` does as a sparse tensor: packets, not cells."""
        return counted(self._positions(which, device), len(which), self._shape)

    def _positions(self, which: Rows, device: torch.device) -> Tensor:
        packets, offsets = take_ragged(self._offsets, which)
        picture = np.repeat(np.arange(len(which)), np.diff(offsets))
        flat = picture * math.prod(self._shape) + self._index.cell[packets]
        return moved(flat, device)
