"""FlowPics: packet sizes over arrival times as pictures, from packed samples.

A picture covers one window of a record. Of its packets, time within the window gives the column and
size the row; a cell counts packets. With R the resolution, in exact integer arithmetic::

    x = floor(time within the window * R / window_s)       0 <= time < window_s
    y = floor(size * R / max_size)                         size < max_size

A packet of `max_size` bytes or more is left out, as in the classifiers that this follows (size <
1500); a picture that shall show full-sized packets of an Ethernet needs a `max_size` above 1500.
The time axis is absolute: unlike in the authors' code it is not stretched to the flow's duration,
which a sensor knows only afterwards. Sizes are IP total lengths, as in the paper. Where a spec says
"payload", packets without TCP or UDP payload are left out: acknowledgements would fill row 0 with
what the transport does, not the application.

References
----------
Shapira, Shavitt: "FlowPic: Encrypted Internet Traffic Classification is as Easy as Image
Recognition", IEEE INFOCOM Workshops 2019. With 32 x 32 cells: Horowicz, Shapira, Shavitt: "A Few
Shots Traffic Classification with mini-FlowPic Augmentations", IMC 2022.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._jit import njit
from mtc_sensor.features.spec import FlowPicSpec
from mtc_sensor.flow import FlowBatch, unpack_samples

MAX_COUNT = (1 << 16) - 1
"""Where a cell saturates."""


class FlowPicIndex(NamedTuple):
    """Where packets fall: ``s`` packets in ``w`` pictures, none of them empty."""

    picture: NDArray[np.int64]
    """(s,) the picture that a packet belongs to, not decreasing."""
    cell: NDArray[np.int64]
    """(s,) its position in that picture: ``channel * R * R + y * R + x``."""
    rows: NDArray[np.int64]
    """(w,) the record that a picture shows, not decreasing."""
    window: NDArray[np.int64]
    """(w,) which of the record's windows: it begins `window` x `window_s` after the record does."""


class FlowPics(NamedTuple):
    """Pictures: ``w`` windows of records."""

    images: NDArray[np.uint16]
    """(w, channels, R, R) packets per cell, at most `MAX_COUNT`; rows are sizes, columns times."""
    rows: NDArray[np.int64]
    """(w,) the record that a picture shows, not decreasing."""
    window: NDArray[np.int64]
    """(w,) which of the record's windows."""


class FlowPicBuilder:
    """Builds FlowPics batch after batch in the same memory.

    Most of a picture is empty, and fresh zeros cost far more than the packets. So a builder clears
    just the cells that its last batch filled: time goes with packets, not with pixels. It keeps
    memory for the most pictures that a batch ever gave, ``channels * R * R`` 16-bit counts each.
    Not to be shared between threads.
    """

    def __init__(self, spec: FlowPicSpec) -> None:
        self.spec = spec
        self._images = np.zeros((0, *spec.shape), np.uint16)
        self._filled = np.empty(0, np.int64)

    def build(self, batch: FlowBatch) -> FlowPics:
        """Return the pictures of all records of a batch: one for each window that has packets.

        The images are the builder's memory: do not change them, and copy what shall outlive the
        next call.
        """
        index = flowpic_indices(batch, self.spec)
        self._images.reshape(-1)[self._filled] = 0
        if len(index.rows) > len(self._images):
            self._images = np.zeros((len(index.rows), *self.spec.shape), np.uint16)
        self._filled = index.picture * math.prod(self.spec.shape) + index.cell
        _count(self._images.reshape(-1), self._filled)
        return FlowPics(self._images[: len(index.rows)], index.rows, index.window)


def flowpics(batch: FlowBatch, spec: FlowPicSpec) -> FlowPics:
    """Return the FlowPics of all records of a batch, in memory of their own.

    For batch after batch, a `FlowPicBuilder` is faster.
    """
    return FlowPicBuilder(spec).build(batch)


def flowpic_indices(batch: FlowBatch, spec: FlowPicSpec) -> FlowPicIndex:
    """Say where each packet of a batch falls, for a device that counts them itself.

    With ``cells = channels * R * R``, the pictures are
    ``torch.bincount(picture * cells + cell, minlength=w * cells)``.
    """
    samples = unpack_samples(batch.samples)
    size = (samples.ip_len if spec.size == "ip" else samples.payload).astype(np.int64)
    kept = np.flatnonzero((size < spec.max_size) & ((size > 0) | (spec.size == "ip")))
    offset = samples.offset_us[kept]
    window = offset // spec.window_us
    x = (offset - window * spec.window_us) * spec.resolution // spec.window_us
    cell = size[kept] * spec.resolution // spec.max_size * spec.resolution + x
    if spec.direction:
        cell += samples.responder[kept] * spec.resolution**2
    return _number(batch.sample_rows()[kept], window, cell)


def _number(
    row: NDArray[np.int64], window: NDArray[np.int64], cell: NDArray[np.int64]
) -> FlowPicIndex:
    """Give numbers to the windows that have packets, in order of record and window."""
    windows = int(window.max(initial=0)) + 1
    key = row * windows + window
    order = np.argsort(key, kind="stable")  # linear when packets are in order, as they mostly are
    key = key[order]
    first = np.diff(key, prepend=-1) > 0
    return FlowPicIndex(np.cumsum(first) - 1, cell[order], *np.divmod(key[first], windows))


@njit
def _count(cells: NDArray[np.uint16], position: NDArray[np.int64]) -> None:
    for at in position:
        if cells[at] < MAX_COUNT:
            cells[at] += 1
