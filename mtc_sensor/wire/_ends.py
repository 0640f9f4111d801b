"""Machine code for addresses and ports as Zeek writes them, ``2001:db8::1`` and ``443/tcp``.

Addresses are those that inet_pton takes: four decimal numbers without leading zeros, or groups of
one to four hexadecimal digits, once at most ``::`` for one or more of zeros, and in place of the
last two groups four decimal numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._jit import inline
from mtc_sensor.wire._packets import UNUSUAL, read_decimal, read_literal

Bytes = NDArray[np.uint8]

_BAR, _DOT, _SLASH, _COLON = ord("|"), ord("."), ord("/"), ord(":")
_LONGEST = 45
"""Characters of an address."""
_MAX_PORT = np.uint64(65535)
_TCP = np.frombuffer(b"tcp", np.uint8)
_UDP = np.frombuffer(b"udp", np.uint8)
_ICMP = np.frombuffer(b"icmp", np.uint8)


@inline
def read_address(line: Bytes, at: int, host: Bytes) -> int:
    """Read an address up to a bar into `host` (16,), IPv4 as ::ffff:a.b.c.d; return where it ends.

    It is `UNUSUAL` if there is none; then `host` holds anything.
    """
    end = at
    while end < min(len(line), at + _LONGEST) and line[end] != _BAR:
        end += 1
    text = line[at:end]
    if _read_four(text, host[12:16]):
        for byte in range(12):
            host[byte] = 0xFF if byte >= 10 else 0
        return end
    return end if _read_groups(text, host) else UNUSUAL


@inline
def is_mapped(host: Bytes) -> bool:
    """Whether an address of 16 bytes is an IPv4 address: in ::ffff:0:0/96."""
    mapped = bool(host[10] == 0xFF and host[11] == 0xFF)
    for byte in range(10):
        mapped = mapped and host[byte] == 0
    return mapped


@inline
def _read_four(text: Bytes, out: Bytes) -> bool:
    """Read nothing but four decimal numbers, with dots between them, into `out` (4,)."""
    place = number = digits = 0
    for byte in text:
        if byte == _DOT and digits > 0 and place < 3:
            out[place] = number
            place += 1
            number = digits = 0
        elif 48 <= byte <= 57 and (digits == 0 or number > 0):
            number = number * 10 + int(byte) - 48
            digits += 1
        else:
            return False
        if number > 255:
            return False
    out[place] = number
    return place == 3 and digits > 0


@inline
def _read_groups(text: Bytes, out: Bytes) -> bool:
    """Read nothing but an IPv6 address into `out` (16,)."""
    at, used, gap = 0, 0, -1
    if len(text) >= 2 and text[0] == _COLON and text[1] == _COLON:
        at, gap = 2, 0
    while at < len(text):
        begin = at
        at, group = _read_group(text, at)
        if at < len(text) and text[at] == _DOT:
            sound = used <= 12 and _read_four(text[begin:], out[used : used + 4])
            return sound and _widen(out, used + 4, gap)
        if at == begin or used == 16:
            return False
        out[used] = group >> 8
        out[used + 1] = group & 0xFF
        used += 2
        if at == len(text):
            break
        # A colon, which does not end the text but as one of two.
        if text[at] != _COLON or at + 1 == len(text):
            return False
        at += 1
        if text[at] == _COLON:
            if gap >= 0:
                return False
            at, gap = at + 1, used
    return _widen(out, used, gap)


@inline
def _read_group(text: Bytes, at: int) -> tuple[int, int]:
    """Read at most four hexadecimal digits; return where they end, and the number."""
    number, end = 0, min(len(text), at + 4)
    while at < end and _hexadecimal(text[at]) >= 0:
        number = number << 4 | _hexadecimal(text[at])
        at += 1
    return at, number


@inline
def _hexadecimal(byte: np.uint8) -> int:
    """Return what a hexadecimal digit stands for, or `UNUSUAL`."""
    if 48 <= byte <= 57:
        return int(byte) - 48
    letter = int(byte) & 0xDF
    return letter - 55 if 65 <= letter <= 70 else UNUSUAL


@inline
def _widen(out: Bytes, used: int, gap: int) -> bool:
    """Put zeros into the gap after the first `gap` bytes; return whether there are 16 then."""
    if gap < 0 or used == 16:
        return gap < 0 and used == 16
    for byte in range(1, used - gap + 1):
        out[16 - byte] = out[used - byte]
    for byte in range(gap, 16 - used + gap):
        out[byte] = 0
    return True


@inline
def read_port(line: Bytes, at: int, port: Bytes) -> tuple[int, int]:
    """Read a port into `port` (2,), the low byte first; return where it ends, and its protocol.

    The protocol is the number that IPv4 has for it. What ends is `UNUSUAL` if there is none.
    """
    at, number = read_decimal(line, at)
    if at < 0 or number > _MAX_PORT or line[at] != _SLASH:
        return UNUSUAL, 0
    port[0] = number & np.uint64(0xFF)
    port[1] = number >> np.uint64(8)
    proto = 6
    end = read_literal(line, at + 1, _TCP)
    if end < 0:
        proto = 17
        end = read_literal(line, at + 1, _UDP)
    if end < 0:
        proto = 1
        end = read_literal(line, at + 1, _ICMP)
    return end, proto
