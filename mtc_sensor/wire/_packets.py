"""Machine code for the packets of a record, as ``MTC::Packets`` in JSON.

Zeek's scripts send what costs Zeek least: the time of each packet, and the connection's counters
before the first and after each. Here they are subtracted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._jit import inline

Bytes = NDArray[np.uint8]
Counts = NDArray[np.uint64]

UNUSUAL = -1
"""Not the shape that Zeek sends, or not valid."""

RESPONDER_AT, PAYLOAD_AT = 17, 34
"""Bits of a difference: below is the IP packet's length if it is the originator's, then the same if
it is the responder's, then what it added to the payload."""

_TIMES = np.frombuffer(b'{"times":[', np.uint8)
_COUNTERS = np.frombuffer(b'],"counters":[', np.uint8)
_END = np.frombuffer(b"]}", np.uint8)
_MOST_TENTH = np.uint64((2**64 - 1) // 10)
_SECONDS_DIGITS = 12
"""More would not fit a count of microseconds."""

# Of `mtc_sensor.flow`, once more: the cache of machine code would not see them change.
MAX_LENGTH, _MAX_OFFSET = np.uint64(0xFFFF), np.uint64(0x7FFFFFFF)
_OFFSET_AT, DIR_AT, LENGTH_AT = np.uint64(33), np.uint64(32), np.uint64(16)


@inline
def read_packets(text: Bytes, at: int, out: Counts) -> tuple[int, int, np.uint64]:
    """Read the packets of a record.

    Parameters
    ----------
    text
        (b,) from `at` on ``{"times":[...],"counters":[...]}``, seconds and counts in decimal.
    out
        Room for half as many as `text` has bytes; receives packed samples whose payload is what
        the packet added to the connection's.

    Returns
    -------
    tuple
        Where they end, or `UNUSUAL`; how many there are; the first's time in microseconds, or 0.
    """
    at = read_literal(text, at, _TIMES)
    count = 0
    while 0 <= at < len(text) and (count > 0 or text[at] != ord("]")):
        at, out[count] = _microseconds(text, at)
        count += 1
        if at < 0 or text[at] != ord(","):
            break
        at += 1
    at = read_literal(text, at, _COUNTERS)
    at, before = read_decimal(text, at)
    first = out[0] if count else np.uint64(0)
    for packet in range(count):
        if at < 0 or text[at] != ord(","):
            return UNUSUAL, count, first
        at, after = read_decimal(text, at + 1)
        out[packet] = _packed(out[packet], first, after - before)
        before = after
    return read_literal(text, at, _END), count, first


@inline
def read_literal(text: Bytes, at: int, literal: Bytes) -> int:
    """Return where a literal ends that is to begin at `at`, or `UNUSUAL`."""
    if at < 0 or len(text) - at < len(literal):
        return UNUSUAL
    for place in range(len(literal)):
        if text[at + place] != literal[place]:
            return UNUSUAL
    return at + len(literal)


@inline
def read_decimal(text: Bytes, first: int) -> tuple[int, np.uint64]:
    """Read a count; return where it ends, within the text, or `UNUSUAL`, and it."""
    at, number = first, np.uint64(0)
    while 0 <= at < len(text) and 48 <= text[at] <= 57:
        digit = np.uint64(text[at] - 48)
        if number > _MOST_TENTH or (number == _MOST_TENTH and digit > 5):
            return UNUSUAL, number
        number = number * np.uint64(10) + digit
        at += 1
    sound = at > first >= 0 and (text[first] != 48 or at == first + 1)
    return (at if sound and at < len(text) else UNUSUAL), number


@inline
def _microseconds(text: Bytes, first: int) -> tuple[int, np.uint64]:
    """Read seconds, which may have a fraction, as `read_decimal` reads counts; round them."""
    at, number = read_decimal(text, first)
    if at < 0 or at - first > _SECONDS_DIGITS:
        return UNUSUAL, number
    number *= np.uint64(1_000_000)
    if text[at] != ord("."):
        return at, number
    begin = at + 1
    at, unit, up = begin, np.uint64(100_000), np.uint64(0)
    while at < len(text) and 48 <= text[at] <= 57:
        number += np.uint64(text[at] - 48) * unit
        if at == begin + 6 and text[at] >= 53:
            up = np.uint64(1)
        unit //= np.uint64(10)
        at += 1
    return (at if begin < at < len(text) else UNUSUAL), number + up


@inline
def _packed(time: np.uint64, first: np.uint64, added: np.uint64) -> np.uint64:
    """Return the sample of a packet that came at `time` and `added` that to the counter."""
    offset = min(time - first, _MAX_OFFSET) if time > first else np.uint64(0)
    from_originator = added & np.uint64((1 << RESPONDER_AT) - 1)
    length = from_originator + (
        added >> np.uint64(RESPONDER_AT) & np.uint64((1 << RESPONDER_AT) - 1)
    )
    from_responder = np.uint64(length > from_originator)
    length = min(length, MAX_LENGTH)
    # What is added can be negative: then the highest bit is set.
    payload = added >> np.uint64(PAYLOAD_AT)
    payload = np.uint64(0) if added >> np.uint64(63) else min(payload, MAX_LENGTH)
    return offset << _OFFSET_AT | from_responder << DIR_AT | length << LENGTH_AT | payload
