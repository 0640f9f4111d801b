"""Machine code for a network over packets: what each byte adds is looked up, equal packets once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._jit import inner, njit

Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]

STRIDE = 2
TAPS = 5
"""Of the convolutions over a packet's bytes."""


@njit
def look_up(
    rows: NDArray[np.uint8],
    words: NDArray[np.uint64],
    table: Floats,
    silent: Floats,
    out: Floats,
    which: Numbers,
) -> int:
    """Compute a convolution of 5 taps over bytes, stride 2 and padding 2, and ReLU.

    A byte has 256 values, so its part in the outputs that see it needs no multiplication.

    Parameters
    ----------
    rows
        (n, bytes) packets.
    words
        (n, w) the same, to compare them by.
    table
        (5, 257, maps) what a byte adds, by its place in the kernel; the last row, 0, is for none.
    silent
        (outputs, maps) what is there without bytes.
    out
        (n, places, maps), at least as many places as outputs; of each of the distinct packets
        receives the outputs, and then zeros.
    which
        (n,) receives which of the distinct packets each is.

    Returns
    -------
    int
        How many are distinct.
    """
    size = 4
    while size < 2 * len(rows):
        size *= 2
    first, seen, count = np.empty(len(rows), np.int64), np.full(size, -1), 0
    for row in range(len(rows)):
        slot = _hashed(words[row]) & (size - 1)
        while seen[slot] >= 0 and not _equal(words[first[seen[slot]]], words[row]):
            slot = (slot + 1) & (size - 1)
        if seen[slot] < 0:
            seen[slot], first[count] = count, row
            _convolve(rows[row], table, silent, out[count])
            count += 1
        which[row] = seen[slot]
    return count


@inner
def _hashed(words: NDArray[np.uint64]) -> np.int64:
    found = np.uint64(0)
    for word in words:
        found = (found ^ word) * np.uint64(0x9E3779B97F4A7C15)
        found ^= found >> np.uint64(32)
    return np.int64(found >> np.uint64(1))


@inner
def _equal(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> bool:
    for at in range(len(one)):  # noqa: SIM110 - not in machine code
        if one[at] != other[at]:
            return False
    return True


@inner
def _convolve(packet: NDArray[np.uint8], table: Floats, silent: Floats, out: Floats) -> None:
    width, none = len(packet), 256
    for place in range(len(silent)):
        begin = place * STRIDE - 2
        first = table[0, packet[begin] if begin >= 0 else none]
        second = table[1, packet[begin + 1] if begin >= 0 else none]
        third = table[2, packet[begin + 2]]
        fourth = table[3, packet[begin + 3] if begin + 3 < width else none]
        fifth = table[4, packet[begin + 4] if begin + 4 < width else none]
        base, found = silent[place], out[place]
        for at in range(len(found)):
            value = base[at] + first[at] + second[at] + third[at] + fourth[at] + fifth[at]
            found[at] = value if value > 0 else np.float32(0)
    out[len(silent) :] = 0


@njit
def rectify(rows: Floats, bias: Floats, slot: int, outputs: int) -> None:
    """Add the bias of a convolution, and ReLU; make padding of what are no outputs.

    Parameters
    ----------
    rows
        (2 + n * `slot` + 2, maps) in place; of each slot the first `outputs` are outputs.
    bias
        (maps,)
    slot, outputs
        Numbers of rows.
    """
    for at in range(len(rows)):
        row, place = rows[at], at - 2
        if 0 <= place < len(rows) - 4 and place % slot < outputs:
            for channel in range(len(bias)):
                value = row[channel] + bias[channel]
                row[channel] = value if value > 0 else np.float32(0)
        else:
            row[:] = 0


@njit
def join(which: Numbers, vectors: Floats, added: Floats, bias: Floats, out: Floats) -> None:
    """Convolve the packets of flows with a kernel of 3, and pool ReLU of it plus what was there.

    Parameters
    ----------
    which
        (n, packets) numbers of vectors.
    vectors
        (v, d)
    added
        (v, 3 d) what a vector adds to the next packet, its own, and the one before.
    bias
        (d,)
    out
        (n, 2 d) receives the maximum and the mean over a flow's packets.
    """
    width = len(bias)
    for flow in range(len(which)):
        packets, largest, mean = which[flow], out[flow, :width], out[flow, width:]
        for at in range(width):
            largest[at], mean[at] = np.float32(-np.inf), np.float32(0)
        for place in range(len(packets)):
            own = packets[place]
            before = added[packets[max(place - 1, 0)]]
            after = added[packets[min(place + 1, len(packets) - 1)]]
            if_before = np.float32(place > 0)
            if_after = np.float32(place < len(packets) - 1)
            for at in range(width):
                value = bias[at] + added[own, width + at]
                value += if_before * before[at] + if_after * after[2 * width + at]
                value = (value if value > 0 else np.float32(0)) + vectors[own, at]
                largest[at] = value if value > largest[at] else largest[at]
                mean[at] += value
        for at in range(width):
            mean[at] /= np.float32(len(packets))
