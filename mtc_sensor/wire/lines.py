"""Records as Zeek writes them, a line each, into columns; both formats of the bus carry lines.

A line is ``kind|uid|orig_h|orig_p|resp_h|resp_p|heads|packets|tokens``: a number, a name, each end
as Zeek prints it, base64 with commas in between, ``MTC::Packets`` in JSON, and text, which may hold
bars itself. `Sample` says what they mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.errors import WireError
from mtc_sensor.wire._scan import (
    FAMILIES,
    MAX_HEADS,
    ORIG_H,
    ORIG_P,
    PROTOCOLS,
    RESP_H,
    RESP_P,
    ROW,
    find_strings,
    scan_lines,
)
from mtc_sensor.wire.records import Records, StreamId
from mtc_sensor.wire.values import MAX_COUNT

_PARTS = (
    ("kind", "no kind of record"),
    ("uid", "no uid"),
    ("orig_h", "no address"),
    ("orig_p", "no port of TCP, UDP or ICMP"),
    ("resp_h", "no address"),
    ("resp_p", "no port of TCP, UDP or ICMP"),
    ("heads", f"no base64 of at most {MAX_HEADS} packet heads, each of at most 65535 bytes"),
    ("packets", "no JSON of a record's packets"),
    ("tokens", "no printable ASCII of at most 65535 characters"),
)
_TOGETHER = {
    FAMILIES: (ORIG_H, RESP_H, "addresses are of different families"),
    PROTOCOLS: (ORIG_P, RESP_P, "ports are of different protocols"),
}
"""What does not go together, by its number in `_scan`; one part's number is its place."""


def read(lines: Sequence[bytes], stream: StreamId, first: int, link: int) -> Records:
    """Read records, at least one, numbered from `first` on.

    Raises WireError, which names the record, from 0 on, and what is wrong with it.
    """
    ends = [*accumulate(map(len, lines), initial=0)]
    bounds = np.array([ends[:-1], ends[1:]], np.int64)
    return _read(b"".join(lines), bounds, stream, first, link)


def read_binary(
    data: bytes, at: int, count: int, stream: StreamId, first: int, link: int
) -> Records:
    """Read `count` lines that are strings in Broker's binary format, as `read` does.

    They begin at `at` and end with the message. Raises WireError.
    """
    bounds = np.empty((2, count), np.int64)
    if find_strings(np.frombuffer(data, np.uint8), at, bounds) != len(data):
        raise WireError(f"there are not {count} strings up to the end")
    return _read(data, bounds, stream, first, link)


def _read(
    data: bytes, bounds: NDArray[np.int64], stream: StreamId, first: int, link: int
) -> Records:
    count = bounds.shape[1]
    if count > MAX_COUNT - first + 1:
        raise WireError(f"record {MAX_COUNT - first + 1}: its number is more than {MAX_COUNT}")
    rows = np.zeros((count, ROW.itemsize), np.uint8)
    offsets = np.zeros((3, count + 1), np.int64)
    ends = np.zeros(MAX_HEADS * count + 1, np.int64)
    samples = np.empty(len(data) // 2, np.uint64)
    text = np.empty((2, len(data)), np.uint8)
    done, wrong = scan_lines(
        np.frombuffer(data, np.uint8), bounds, rows, offsets, ends, samples, text
    )
    if done < count:
        begin, end = bounds[:, done].tolist()
        raise WireError(f"record {done}: {_fault(data[begin:end], wrong)}")
    packets, heads, tokens = offsets[:, -1].tolist()
    columns = rows.view(ROW).ravel()
    return Records(
        stream=stream,
        seq=np.arange(first, first + count, dtype=np.uint64),
        link=np.full(count, link, np.int32),
        **{name: columns[name] for name in ROW.fields or ()},
        samples=samples[:packets].copy(),
        sample_offsets=offsets[0],
        head=text[0, : ends[heads]].copy(),
        head_ends=ends[: heads + 1],
        head_offsets=offsets[1],
        tokens=text[1, :tokens].copy(),
        token_offsets=offsets[2],
    )


def _fault(line: bytes, wrong: int) -> str:
    parts = [repr(part[:64]) for part in line.split(b"|", len(_PARTS) - 1)]
    if len(parts) < len(_PARTS):
        return f"{len(parts)} parts, not {len(_PARTS)}"
    if wrong in _TOGETHER:
        one, other, what = _TOGETHER[wrong]
        return f"{what}: {parts[one]} and {parts[other]}"
    name, what = _PARTS[wrong]
    return f"{name}: {parts[wrong]} is {what}"
