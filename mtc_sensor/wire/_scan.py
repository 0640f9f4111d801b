"""Machine code that reads the lines of a ``MTC::sample_batch``, a record of Zeek's each.

Where a part of a line stands depends on all before it, so this is a scan.
"""

from __future__ import annotations

from string import ascii_lowercase, ascii_uppercase, digits

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._jit import inline, njit
from mtc_sensor.wire._ends import is_mapped, read_address, read_port
from mtc_sensor.wire._packets import UNUSUAL, read_packets

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Counts = NDArray[np.uint64]

MAX_HEADS = 8
"""Packets of a connection whose first bytes travel with its samples."""
ROW = np.dtype(
    [
        ("uid", "S24"),
        ("kind", "u1"),
        ("proto", "u1"),
        ("orig_h", "u1", 16),
        ("resp_h", "u1", 16),
        ("orig_p", "<u2"),
        ("resp_p", "<u2"),
        ("start_us", "<i8"),
    ]
)
"""What has the same size in every record."""

KIND, UID, ORIG_H, ORIG_P, RESP_H, RESP_P, HEADS, PACKETS, TOKENS, FAMILIES, PROTOCOLS = range(11)
"""What can be wrong: a part of the line, or two that do not go together."""

# Of `broker_bin` and `fields`, once more: the cache of machine code would not see them change.
_STRING = 5
_MAX_UID, _MAX_HEAD, _MAX_TEXT = 24, 65535, 65535
_BAR, _COMMA, _EQUALS = ord("|"), ord(","), ord("=")
_ICMP, _ICMP6 = 1, 58
_BASE64 = np.full(256, 64, np.uint8)
"""What a character stands for; 64 for what is none."""
_BASE64[np.frombuffer((ascii_uppercase + ascii_lowercase + digits + "+/").encode(), np.uint8)] = (
    np.arange(64)
)


@njit
def find_strings(data: Bytes, at: int, bounds: Ints) -> int:
    """Find strings in Broker's binary format.

    Parameters
    ----------
    data
        (b,) the message.
    at
        Where the first string begins.
    bounds
        (2, n) receives where each one's bytes begin and end.

    Returns
    -------
    int
        Where they all end, or `UNUSUAL` if they do not, or are longer than a message may be.
    """
    for record in range(bounds.shape[1]):
        at, size = _length(data, at)
        if at < 0 or len(data) - at < size:
            return UNUSUAL
        bounds[0, record] = at
        at += size
        bounds[1, record] = at
    return at


@inline
def _length(data: Bytes, at: int) -> tuple[int, int]:
    """Read a tag and a length of at most three bytes; return where that ends, or `UNUSUAL`."""
    if len(data) - at < 2 or data[at] != _STRING:
        return UNUSUAL, 0
    size = 0
    for place in range(min(3, len(data) - at - 1)):
        byte = int(data[at + 1 + place])
        size |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return at + 2 + place, size
    return UNUSUAL, 0


@njit
def scan_lines(
    data: Bytes, bounds: Ints, rows: Bytes, offsets: Ints, ends: Ints, samples: Counts, text: Bytes
) -> tuple[int, int]:
    """Read lines, each nine parts with bars between them.

    Parameters
    ----------
    data
        (b,) what the lines are in.
    bounds
        (2, n) where each begins and ends, within `data`; they do not overlap.
    rows
        (n, `ROW.itemsize`) zeros, receives a `ROW` for each record.
    offsets
        (3, n + 1) zeros, receives where each record's samples, heads and tokens begin and end.
    ends
        (`MAX_HEADS` * n + 1,) zeros, receives where each head ends.
    samples
        (b // 2,) receives packed samples.
    text
        (2, b) receives the bytes of the heads, and of the tokens.

    Returns
    -------
    tuple
        How many lines were read, and what is wrong with the next, if there is one: `KIND`, ...
    """
    packets = heads = tokens = 0
    for record in range(len(rows)):
        line, row = data[bounds[0, record] : bounds[1, record]], rows[record]
        at, wrong = _row(line, row)
        if at < 0:
            return record, wrong
        at, heads = _heads(line, at, text[0], ends, heads)
        if at < 0:
            return record, HEADS
        at, count, start = read_packets(line, at, samples[packets:])
        at = _after_bar(line, at)
        if at < 0:
            return record, PACKETS
        for byte in range(8):
            row[62 + byte] = start >> np.uint64(8 * byte) & np.uint64(0xFF)
        packets += count
        if not _text(line[at:], text[1, tokens:]):
            return record, TOKENS
        tokens += len(line) - at
        offsets[0, record + 1] = packets
        offsets[1, record + 1] = heads
        offsets[2, record + 1] = tokens
    return len(rows), 0


@inline
def _after_bar(line: Bytes, at: int) -> int:
    """Return where the next part begins if one ends at `at`, or `UNUSUAL`."""
    return at + 1 if 0 <= at < len(line) and line[at] == _BAR else UNUSUAL


@inline
def _row(line: Bytes, row: Bytes) -> tuple[int, int]:
    """Read the parts before the heads; return where these begin, or `UNUSUAL` and what is wrong."""
    at = _after_bar(line, 1)
    if at < 0 or not 48 <= line[0] <= 50:
        return UNUSUAL, KIND
    row[24] = line[0] - 48
    at = _uid(line, at, row)
    if at < 0:
        return UNUSUAL, UID
    at, wrong, orig_proto = _end(line, at, row[26:42], row[58:60])
    if at < 0:
        return UNUSUAL, ORIG_H + wrong
    at, wrong, proto = _end(line, at, row[42:58], row[60:62])
    if at < 0:
        return UNUSUAL, RESP_H + wrong
    is_v4 = is_mapped(row[26:42])
    if is_v4 != is_mapped(row[42:58]):
        return UNUSUAL, FAMILIES
    row[25] = proto if is_v4 or proto != _ICMP else _ICMP6
    return at if proto == orig_proto else UNUSUAL, PROTOCOLS


@inline
def _uid(line: Bytes, at: int, out: Bytes) -> int:
    for place in range(min(_MAX_UID + 1, len(line) - at)):
        byte = line[at + place]
        if byte == _BAR:
            return at + place + 1 if place else UNUSUAL
        if place == _MAX_UID or not (65 <= (byte & 0xDF) <= 90 or 48 <= byte <= 57):
            return UNUSUAL
        out[place] = byte
    return UNUSUAL


@inline
def _end(line: Bytes, at: int, host: Bytes, port: Bytes) -> tuple[int, int, int]:
    """Read an address and its port; return where they end, which is wrong, and the protocol."""
    at = _after_bar(line, read_address(line, at, host))
    if at < 0:
        return UNUSUAL, 0, 0
    at, proto = read_port(line, at, port)
    return _after_bar(line, at), 1, proto


@inline
def _heads(line: Bytes, at: int, out: Bytes, ends: Ints, heads: int) -> tuple[int, int]:
    """Read heads, with commas between them; one that is empty is none. Return where they end."""
    if _after_bar(line, at) >= 0:
        return at + 1, heads
    for _ in range(MAX_HEADS):
        at, end = _base64(line, at, out, ends[heads])
        if at == len(line) or end - ends[heads] > _MAX_HEAD:
            break
        heads += 1
        ends[heads] = end
        at += 1
        if line[at - 1] == _BAR:
            return at, heads
        if line[at - 1] != _COMMA:
            break
    return UNUSUAL, heads


@inline
def _base64(line: Bytes, at: int, out: Bytes, used: int) -> tuple[int, int]:
    """Decode base64 to `out` from `used` on; return where either ends."""
    while len(line) - at >= 4:
        one, two = _BASE64[line[at]], _BASE64[line[at + 1]]
        three, four = _BASE64[line[at + 2]], _BASE64[line[at + 3]]
        if (one | two | three | four) & 64:
            break
        out[used] = one << 2 | two >> 4
        out[used + 1] = (two & 15) << 4 | three >> 2
        out[used + 2] = (three & 3) << 6 | four
        at += 4
        used += 3
    if len(line) - at < 4 or line[at + 3] != _EQUALS:
        return at, used
    one, two, three = _BASE64[line[at]], _BASE64[line[at + 1]], _BASE64[line[at + 2]]
    is_short = line[at + 2] == _EQUALS
    if (one | two) & 64 or (three & 64 and not is_short):
        return at, used
    out[used] = one << 2 | two >> 4
    if is_short:
        return at + 4, used + 1
    out[used + 1] = (two & 15) << 4 | three >> 2
    return at + 4, used + 2


@inline
def _text(text: Bytes, out: Bytes) -> bool:
    """Copy text; return whether it may stand there."""
    if len(text) > _MAX_TEXT:
        return False
    strange = False
    for place in range(len(text)):
        byte = text[place]
        strange |= byte < 0x20 or byte > 0x7E
        out[place] = byte
    return not strange
