"""Internet checksums (RFC 1071) of many ranges of one buffer."""

from __future__ import annotations

import numpy as np

from mtc_sensor.capture.layers import Bytes, Ints


def ones_complement_sum(data: Bytes, start: Ints, stop: Ints) -> Ints:
    """Add up ranges of bytes as 16-bit words, network order, in ones' complement.

    Parameters
    ----------
    data
        (b,) bytes.
    start, stop
        (n,) the ranges; ``0 <= start <= stop <= b``. An odd one is padded with a zero.

    Returns
    -------
    Ints
        (n,) 0..0xFFFF; 0xFFFF where a range holds its own correct checksum.
    """
    sums = np.zeros(len(start), np.int64)
    for parity in (0, 1):
        column = data[parity::2]
        # Positions of this parity in start..stop are items (start+1-parity)//2.. of the column.
        first, last = (start + 1 - parity) // 2, (stop + 1 - parity) // 2
        high = start % 2 == parity
        sums += _range_sums(column, first, last) * np.where(high, 256, 1)
    return fold(sums)


def fold(sums: Ints) -> Ints:
    """Fold carries in until 16 bits are left."""
    for _ in range(3):
        sums = (sums >> 16) + (sums & 0xFFFF)
    return sums


def _range_sums(column: Bytes, first: Ints, last: Ints) -> Ints:
    sums = np.zeros(len(first), np.int64)
    rows = np.flatnonzero(first < last)
    if not rows.size:
        return sums
    # A zero at the end lets a range end with the buffer; reduceat's odd items lie between ranges.
    padded = np.append(column, np.uint8(0))
    bounds = np.stack((first[rows], last[rows]), 1).ravel()
    sums[rows] = np.add.reduceat(padded, bounds, dtype=np.int64)[::2]
    return sums
