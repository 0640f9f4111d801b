"""Machine code that walks through the records of a ``MTC::sample_batch`` in Broker's binary format.

Where something stands in a message depends on every length before it, so this is a scan.
"""

from __future__ import annotations

from string import ascii_lowercase, ascii_uppercase, digits

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._jit import inline, njit
from mtc_sensor.wire._packets import UNUSUAL, read_packets

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Counts = NDArray[np.uint64]

MAX_HEADS = 8
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

# Of `broker_bin` and `fields`, once more: the cache of machine code would not see them change.
_COUNT, _STRING, _ADDRESS, _PORT, _VECTOR = 2, 5, 6, 8, 14
_FIELDS = 10
_NUMBER, _END = 9, 21
"""Bytes of a count, and of an address and a port, with their tags."""
_MAX_KIND, _MAX_UID = np.uint64(2), 24
_TCP, _UDP, _ICMP = 1, 2, 3
_BASE64 = np.full(256, 64, np.uint8)
"""What a character stands for; 64 for what is none."""
_BASE64[np.frombuffer((ascii_uppercase + ascii_lowercase + digits + "+/").encode(), np.uint8)] = (
    np.arange(64)
)


@njit
def scan_records(
    data: Bytes, at: int, rows: Bytes, offsets: Ints, ends: Ints, samples: Counts, text: Bytes
) -> int:
    """Read records from `at` on; return where they end, or `UNUSUAL`.

    Parameters
    ----------
    data
        (b,) the message.
    at
        Where the first record begins.
    rows
        (n, `ROW.itemsize`) zeros, receives a `ROW` for each record.
    offsets
        (3, n + 1) zeros, receives where each record's samples, heads and tokens begin and end.
    ends
        (`MAX_HEADS` * n + 1,) zeros, receives where each head ends.
    samples
        Receives packed samples; room for as many as `b` bytes can hold.
    text
        (2, b) receives the bytes of the heads, and of the tokens.
    """
    packets = heads = tokens = 0
    for record in range(len(rows)):
        at = _row(data, at, rows[record])
        at, packets = _samples(data, at, samples, packets)
        offsets[0, record + 1] = packets
        at, heads = _heads(data, at, text[0], ends, heads)
        offsets[1, record + 1] = heads
        at, tokens = _text(data, at, text[1], tokens)
        offsets[2, record + 1] = tokens
        if at < 0:
            return UNUSUAL
    return at


@inline
def _row(data: Bytes, at: int, row: Bytes) -> int:
    """Read a record's fields up to its time."""
    if len(data) - at < 2 + _NUMBER or data[at] != _VECTOR or data[at + 1] != _FIELDS:
        return UNUSUAL
    kind = _number(data, at + 3)
    row[24] = kind
    at = UNUSUAL if kind > _MAX_KIND or data[at + 2] != _COUNT else _uid(data, at + 11, row)
    if at < 0 or len(data) - at < 2 * _END + _NUMBER:
        return UNUSUAL
    proto = _end(data, at, row[26:42], row[58:60])
    row[25] = proto
    if proto < 0 or proto != _end(data, at + _END, row[42:58], row[60:62]):
        return UNUSUAL
    at += 2 * _END
    for byte in range(8):
        row[62 + byte] = data[at + 8 - byte]
    return at + _NUMBER if data[at] == _COUNT and data[at + 1] < 0x80 else UNUSUAL


@inline
def _number(data: Bytes, at: int) -> np.uint64:
    """Read eight bytes, the first the highest."""
    number = np.uint64(0)
    for byte in data[at : at + 8]:
        number = number << np.uint64(8) | np.uint64(byte)
    return number


@inline
def _length(data: Bytes, at: int, tag: int) -> tuple[int, int]:
    """Read a tag and a length of at most three bytes; return where that ends, or `UNUSUAL`, and it.

    It is `UNUSUAL` before it: what cannot be read leads to what cannot be read.
    """
    if at < 0 or len(data) - at < 2 or data[at] != tag:
        return UNUSUAL, 0
    size = 0
    for place in range(min(3, len(data) - at - 1)):
        byte = int(data[at + 1 + place])
        size |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return at + 2 + place, size
    return UNUSUAL, 0


@inline
def _uid(data: Bytes, at: int, out: Bytes) -> int:
    at, size = _length(data, at, _STRING)
    if at < 0 or not 1 <= size <= min(_MAX_UID, len(data) - at):
        return UNUSUAL
    for place in range(size):
        byte = data[at + place]
        if not 65 <= (byte & 0xDF) <= 90 and not 48 <= byte <= 57:
            return UNUSUAL
        out[place] = byte
    return at + size


@inline
def _end(data: Bytes, at: int, host: Bytes, port: Bytes) -> int:
    """Read an address and its port; return the number that IP has for the protocol."""
    if data[at] != _ADDRESS or data[at + 17] != _PORT:
        return UNUSUAL
    mapped = data[at + 11] == 0xFF and data[at + 12] == 0xFF
    for byte in range(16):
        host[byte] = data[at + 1 + byte]
        mapped = mapped and (byte >= 10 or host[byte] == 0)
    port[0], port[1] = data[at + 19], data[at + 18]
    named = data[at + 20]
    if named == _ICMP:
        return 1 if mapped else 58
    if named in (_TCP, _UDP):
        # The families of both ends must be equal too: IPv6 is marked by what a byte cuts off.
        return (6 if named == _TCP else 17) + (0 if mapped else 256)
    return UNUSUAL


@inline
def _samples(data: Bytes, at: int, out: Counts, taken: int) -> tuple[int, int]:
    at, size = _length(data, at, _STRING)
    if at < 0 or len(data) - at < size:
        return UNUSUAL, taken
    count = read_packets(data[at : at + size], out[taken:])
    return (at + size if count >= 0 else UNUSUAL), taken + count


@inline
def _heads(data: Bytes, at: int, out: Bytes, ends: Ints, heads: int) -> tuple[int, int]:
    at, count = _length(data, at, _VECTOR)
    if at < 0 or count > MAX_HEADS:
        return UNUSUAL, heads
    for _ in range(count):
        at, size = _length(data, at, _STRING)
        if at < 0 or len(data) - at < size:
            return UNUSUAL, heads
        end = _base64(data[at : at + size], out, ends[heads])
        if end < 0:
            return UNUSUAL, heads
        at += size
        heads += 1
        ends[heads] = end
    return at, heads


@inline
def _base64(text: Bytes, out: Bytes, used: int) -> int:
    """Decode base64 to `out` from `used` on; return where it ends, or `UNUSUAL`."""
    size = len(text)
    if size % 4:
        return UNUSUAL
    padding = 0
    while padding < min(size, 2) and text[size - 1 - padding] == ord("="):
        padding += 1
    invalid = np.uint8(0)
    for at in range(0, size, 4):
        word = np.int64(0)
        for place in range(at, at + 4):
            value = _BASE64[text[place]] if place < size - padding else np.uint8(0)
            invalid |= value
            word = word << 6 | np.int64(value)
        out[used] = word >> 16
        out[used + 1] = word >> 8
        out[used + 2] = word
        used += 3
    return UNUSUAL if invalid & 64 else used - padding


@inline
def _text(data: Bytes, at: int, out: Bytes, used: int) -> tuple[int, int]:
    at, size = _length(data, at, _STRING)
    if at < 0 or len(data) - at < size:
        return UNUSUAL, used
    for place in range(at, at + size):
        if data[place] < 0x20 or data[place] > 0x7E:
            return UNUSUAL, used
        out[used] = data[place]
        used += 1
    return at + size, used
