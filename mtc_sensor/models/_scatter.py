"""Machine code for a network over small pictures, most of which are empty.

A few of 2 x 32 x 32 cells hold packets. Each adds its part to the outputs of the convolution that
see it; a dense one multiplies zeros nearly all the time. What comes out of the second
convolution is pooled here, too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._jit import inline, inner, njit

Floats = NDArray[np.float32]


@njit
def convolve_and_pool(
    counts: NDArray[np.int64], weights: Floats, bias: Floats, out: Floats
) -> None:
    """Compute convolution (stride 1, no padding), ReLU and 2 x 2 pooling of log(1 + n).

    Parameters
    ----------
    counts
        (B, channels, R, R) packets per cell.
    weights
        (channels, k, k, maps): the kernel, its columns (the third axis) from right to left.
    bias
        (maps,)
    out
        (B, h, h, maps) receives the outputs, with h half of R - k + 1, rounded down.
    """
    side, maps = counts.shape[2] - weights.shape[1] + 1, len(bias)
    sums, silent = np.empty((side, side * maps), np.float32), np.empty(side * maps, np.float32)
    for at in range(len(silent)):
        silent[at] = bias[at % maps]
    for picture in range(len(counts)):
        for row in range(side):
            for at in range(len(silent)):
                sums[row, at] = silent[at]
        for channel in range(counts.shape[1]):
            _add(counts[picture, channel], weights[channel], sums)
        _pool(sums, out[picture])


@inner
def _add(counts: NDArray[np.int64], weights: Floats, sums: Floats) -> None:
    taps, maps = weights.shape[1], weights.shape[2]
    for y in range(counts.shape[0]):
        for x in range(counts.shape[1]):
            if counts[y, x] == 0:
                continue
            value = np.float32(np.log1p(counts[y, x]))
            first, last = max(0, taps - 1 - x), min(taps, sums.shape[1] // maps + taps - 1 - x)
            begin = (x - taps + 1 + first) * maps
            for tap in range(max(0, y - len(sums) + 1), min(taps, y + 1)):
                kernel = weights[tap, first:last].reshape(-1)
                seen = sums[y - tap, begin : begin + len(kernel)]
                for at in range(len(seen)):
                    seen[at] += value * kernel[at]


@inner
def _pool(sums: Floats, out: Floats) -> None:
    maps = out.shape[2]
    for y in range(out.shape[0]):
        upper, lower = sums[2 * y], sums[2 * y + 1]
        for at in range(len(upper)):
            upper[at] = _larger(_larger(upper[at], lower[at]), np.float32(0))
        for x in range(out.shape[1]):
            left = upper[2 * x * maps : (2 * x + 1) * maps]
            right = upper[(2 * x + 1) * maps : (2 * x + 2) * maps]
            for at in range(maps):
                out[y, x, at] = _larger(left[at], right[at])


@njit
def pool(sums: Floats, bias: Floats, out: Floats) -> None:
    """Compute bias, ReLU and 2 x 2 pooling of (B, h, h, maps) `sums`, (B, maps, h/2, h/2) `out`."""
    for picture in range(len(out)):
        for y in range(out.shape[2]):
            for x in range(out.shape[3]):
                above, below = sums[picture, 2 * y], sums[picture, 2 * y + 1]
                for at in range(out.shape[1]):
                    upper = _larger(above[2 * x, at], above[2 * x + 1, at])
                    lower = _larger(below[2 * x, at], below[2 * x + 1, at])
                    value = _larger(upper, lower) + bias[at]
                    out[picture, at, y, x] = _larger(value, np.float32(0))


@inline
def _larger(one: np.float32, other: np.float32) -> np.float32:
    return one if one > other else other  # max() looks for NaN
