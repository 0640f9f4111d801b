"""Machine code for a convolution over embedded bytes: what each byte adds is looked up.

A byte has 256 values, so its part in the outputs that see it needs no multiplication.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._jit import njit

Floats = NDArray[np.float32]


@njit
def look_up(
    rows: NDArray[np.uint8], table: Floats, silent: Floats, stride: int, out: Floats
) -> None:
    """Compute a convolution with a padding of half its kernel, and ReLU.

    Parameters
    ----------
    rows
        (n, bytes)
    table
        (k, 256, maps) what a byte adds, by its place in the kernel.
    silent
        (outputs, maps) what is there without bytes.
    stride
        Of the convolution.
    out
        (n, outputs, maps) receives the outputs.
    """
    taps, width = len(table), rows.shape[1]
    for row in range(len(rows)):
        for place in range(len(silent)):
            found, begin = out[row, place], place * stride - taps // 2
            for at in range(len(found)):
                found[at] = silent[place, at]
            for tap in range(max(0, -begin), min(taps, width - begin)):
                added = table[tap, rows[row, begin + tap]]
                for at in range(len(found)):
                    found[at] += added[at]
            for at in range(len(found)):
                found[at] = found[at] if found[at] > 0 else np.float32(0)
