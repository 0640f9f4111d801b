"""Sizes, directions and gaps of a record's first packets: what is left of any encryption."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.features.spec import SizesSpec
from mtc_sensor.flow import FlowBatch, unpack_samples

_FULL = 1500.0
_LONGEST = 16.0
"""ln(1 + 9 s in microseconds): longer gaps exceed 1."""


def sizes(batch: FlowBatch, spec: SizesSpec) -> NDArray[np.float32]:
    """Build the size sequences of all records of a batch.

    Returns
    -------
    (n, packets, 2 or 1) float32: of each packet its size / 1500, negative if the responder sent it,
    and ln(1 + gap) / 16, the gap being the microseconds since the packet before it; zeros past the
    record's last packet.
    """
    row = batch.sample_rows()
    at = np.arange(len(row)) - batch.sample_offsets[row]
    early = np.flatnonzero(at < spec.packets)
    row, at = row[early], at[early]
    taken = unpack_samples(batch.samples[early])
    size = (taken.ip_len if spec.size == "ip" else taken.payload) / np.float32(_FULL)
    found = np.zeros((len(batch), *spec.shape), np.float32)
    found[row, at, 0] = np.where(taken.responder, -size, size)
    if spec.times:
        gap = np.where(at > 0, np.diff(taken.offset_us, prepend=0), 0)
        found[row, at, 1] = np.log1p(np.maximum(gap, 0)) / _LONGEST
    return found
