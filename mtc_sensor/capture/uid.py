"""Connection identifiers in Zeek's form: ``C`` and 17 base-62 digits.

Zeek draws its uids at random for every run. These are a 96-bit mix of the 5-tuple, the connection's
start and its number in the table, so the same capture gives the same uids each time; they never
equal those that Zeek gives to the same connections. The mix is SplitMix64's finaliser (Steele, Lea
and Flood, "Fast splittable pseudorandom number generators", 2014). It does not depend on which side
is the originator, so all records of a connection share it whether or not its roles were exchanged.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_DIGITS = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", np.uint8)
_HIGH_DIGITS, _LOW_DIGITS = 11, 6  # 62**11 > 2**64, 62**6 > 2**32

_U64 = NDArray[np.uint64]


def uids(
    endpoints: tuple[_U64, _U64], proto: NDArray[np.uint8], start: _U64, serial: _U64
) -> NDArray[np.bytes_]:
    """Return (n,) S24 uids.

    Parameters
    ----------
    endpoints
        Originators and responders, (n, 3) each: two words of address and the port.
    proto
        (n,) IP protocols.
    start
        (n,) times of the connections' first packets, microseconds since the epoch.
    serial
        (n,) what tells connections of one 5-tuple and start apart.
    """
    one, other = (_mixed(*points.T) for points in endpoints)
    tuple_ = _mixed(one + other, one ^ other, proto.astype(np.uint64))
    high = _mixed(tuple_, start, serial)
    low = _mixed(high, tuple_) & np.uint64(0xFFFFFFFF)
    text = np.zeros((len(high), 24), np.uint8)
    text[:, 0] = ord("C")
    _write_digits(text[:, 1 : 1 + _HIGH_DIGITS], high)
    _write_digits(text[:, 1 + _HIGH_DIGITS : 1 + _HIGH_DIGITS + _LOW_DIGITS], low)
    return text.view("S24").reshape(-1)


def _mixed(*words: _U64) -> _U64:
    state = np.zeros_like(words[0])
    for word in words:
        state = (state ^ word) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return state


def _write_digits(text: NDArray[np.uint8], values: _U64) -> None:
    for place in reversed(range(text.shape[1])):
        values, digit = np.divmod(values, np.uint64(62))
        text[:, place] = _DIGITS[digit]
