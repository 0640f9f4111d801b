"""What every protocol layer works on: where many packets stand, and how their bytes are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

Table = TypeVar("Table")

BE32 = np.dtype(">u4")


class Counts(dict[str, int]):
    """How often something was dropped, by reason."""

    def add(self, reason: str, dropped: Mask | int) -> None:
        """Count the true rows of a mask, or a number."""
        number = int(np.count_nonzero(dropped)) if isinstance(dropped, np.ndarray) else dropped
        if number:
            self[reason] = self.get(reason, 0) + number


@dataclass(frozen=True, eq=False)
class Layer:
    """Where ``n`` packets stand: one layer's bytes of each, as positions in one buffer."""

    packet: Ints
    """(n,) index in the batch."""
    pos: Ints
    """(n,) where the layer begins."""
    end: Ints
    """(n,) where its captured bytes end."""
    lost: Ints
    """(n,) bytes of the frame that the capture did not keep."""

    def __len__(self) -> int:
        return len(self.packet)

    def take(self, rows: Ints | Mask) -> Layer:
        """Return the layer of some packets, by index or mask."""
        return take(self, rows)

    def keep(self, good: Mask, counts: Counts, reason: str) -> Layer:
        """Return the layer of the `good` packets and count the others under `reason`."""
        if good.all():
            return self
        counts.add(reason, ~good)
        return self.take(good)

    def skip(self, size: int | Ints) -> Layer:
        """Return what follows the first `size` bytes."""
        return replace(self, pos=self.pos + size)

    @cached_property
    def captured(self) -> Ints:
        """(n,) captured bytes."""
        return self.end - self.pos

    @classmethod
    def concat(cls, layers: Sequence[Layer]) -> Layer:
        """Join layers of one buffer, in order."""
        layers = [layer for layer in layers if len(layer)] or [_NOWHERE]
        if len(layers) == 1:
            return layers[0]
        columns = ([getattr(layer, f.name) for layer in layers] for f in fields(cls))
        return cls(*(np.concatenate(column) for column in columns))


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def take(table: Table, rows: Ints | Mask) -> Table:
    """Return some rows of all columns of a dataclass, by index or mask."""
    index = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
    columns = (getattr(table, name) for name in _names(type(table)))  # type: ignore[arg-type]
    # ndarray.take copies rows of several bytes several times faster than an index in brackets.
    return type(table)(
        *(c.take(index, axis=0) if isinstance(c, np.ndarray) else take(c, index) for c in columns)
    )


_NOTHING = np.empty(0, np.int64)
_NOWHERE = Layer(_NOTHING, _NOTHING, _NOTHING, _NOTHING)


def layout(size: int, **places: tuple[str, int]) -> np.dtype[Any]:
    """Describe a header of `size` bytes by its fields' formats and offsets."""
    formats, offsets = zip(*places.values(), strict=True)
    return np.dtype(
        {"names": list(places), "formats": formats, "offsets": offsets, "itemsize": size}
    )


def gather(data: Bytes, pos: Ints, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Read one `dtype` at each position, aligned or not.

    Parameters
    ----------
    data
        (b,) contiguous bytes.
    pos
        (n,) positions, not negative. What lies past the end of `data` reads as zeros.
    dtype
        What to read; a structured one describes a header.

    Returns
    -------
    NDArray
        (n,) of `dtype`. It may hold bytes past a packet's own end: a caller checks lengths before
        it believes them.
    """
    size = dtype.itemsize
    last = len(data) - size
    if last < 0:
        data, last = np.concatenate((data, np.zeros(-last, np.uint8))), 0
    found = _overlapping(data, size)[np.minimum(pos, last)]
    late = np.flatnonzero(pos > last)
    if late.size:
        tail = np.concatenate((data[last:], np.zeros(size, np.uint8)))
        found[late] = _overlapping(tail, size)[np.minimum(pos[late] - last, size)]
    return found.view(dtype)


def _overlapping(data: Bytes, size: int) -> NDArray[np.void]:
    """View bytes as items of `size` that begin at every position: one take copies a header."""
    return np.ndarray((len(data) - size + 1,), f"V{size}", data, strides=(1,))


def u8(data: Bytes, pos: Ints) -> Ints:
    """Read one byte at each position; past the end of `data` it is some other byte."""
    return _byte(data, pos).astype(np.int64)


def u16(data: Bytes, pos: Ints) -> Ints:
    """Read 16 bits, network order, at each position; like `u8`."""
    return (_byte(data, pos).astype(np.int64) << 8) | _byte(data, pos + 1)


def _byte(data: Bytes, pos: Ints) -> Bytes:
    return data[np.minimum(pos, len(data) - 1)]
