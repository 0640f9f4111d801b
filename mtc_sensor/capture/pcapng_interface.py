"""pcapng interface descriptions: link type, snapshot length, and what a tick of the clock is."""

from __future__ import annotations

import math
import struct

import numpy as np

from mtc_sensor.capture.window import MAX_CAPTURED, MICROSECONDS

MAX_SECONDS = 1 << 40
"""34,865 years: times beyond it saturate, so that differences of times fit 64 bits."""

INTERFACE_FIELDS = np.dtype(
    [
        ("link", np.int32),
        ("snaplen", np.uint32),
        ("per_second", np.uint64),
        ("factor", np.uint64),
        ("divisor", np.uint64),
        ("offset_us", np.int64),
    ],
    align=True,
)
"""`per_second` ticks; of a fraction of a second, ``ticks * factor // divisor`` microseconds."""

_END_OF_OPTIONS, _IF_TSRESOL, _IF_TSOFFSET = 0, 9, 14
# What fits 64 bits: a second in ticks, for binary ones times 15,625 (10^6 / 2^6).
_MAX_EXPONENT = {2: 50, 10: 19}


def parse_interface(body: bytes, order: str) -> tuple[int, ...]:
    """Return the values of `INTERFACE_FIELDS` of an interface description block.

    Parameters
    ----------
    body
        The block between its two lengths, at least 8 bytes.
    order
        The section's byte order, ">" or "<" as in `struct`.

    Raises
    ------
    ValueError
        What is wrong with it, as a phrase.
    """
    link, snaplen = struct.unpack_from(order + "H2xI", body)
    options = _options(body[8:], order)
    per_second = _ticks_per_second(options.get(_IF_TSRESOL, b"\x06"))
    offset_s = _offset_s(options.get(_IF_TSOFFSET, bytes(8)), order)
    common = math.gcd(MICROSECONDS, per_second)
    return (
        link,
        min(snaplen or MAX_CAPTURED, MAX_CAPTURED),
        per_second,
        MICROSECONDS // common,
        per_second // common,
        max(-MAX_SECONDS, min(offset_s, MAX_SECONDS)) * MICROSECONDS,
    )


def _options(data: bytes, order: str) -> dict[int, bytes]:
    options: dict[int, bytes] = {}
    while len(data) >= 4:
        code, length = struct.unpack_from(order + "HH", data)
        if code == _END_OF_OPTIONS:
            break
        if length > len(data) - 4:
            raise ValueError(f"its option {code} of {length} bytes does not fit into the block")
        options[code] = data[4 : 4 + length]
        data = data[4 + length + -length % 4 :]
    return options


def _ticks_per_second(resolution: bytes) -> int:
    if len(resolution) == 1:
        base = 2 if resolution[0] & 0x80 else 10
        exponent = resolution[0] & 0x7F
        if exponent <= _MAX_EXPONENT[base]:
            return int(base**exponent)
    raise ValueError(
        f"its time resolution (if_tsresol) is 0x{resolution.hex()}, "
        "where 10^-19 (0x13) and 2^-50 (0xb2) seconds are the finest"
    )


def _offset_s(value: bytes, order: str) -> int:
    if len(value) != 8:
        raise ValueError(f"its time offset (if_tsoffset) has {len(value)} bytes instead of 8")
    return int(struct.unpack(order + "q", value)[0])
