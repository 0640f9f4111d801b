"""MTC events from and to Broker's binary format, with short cuts for the two that are many.

`broker_bin` and `events` say what is valid. `SampleBatch` of the shape that Zeek sends, and
`VerdictBatch` of `Answers`, skip the tree of values in between; what looks unusual goes the long
way, and is refused there if it is wrong.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import cast

import numpy as np

from mtc_sensor.errors import WireError
from mtc_sensor.flow import Kind
from mtc_sensor.wire import broker_bin, events, lines
from mtc_sensor.wire.answers import Answers
from mtc_sensor.wire.broker_bin import COUNT, REAL, STRING, VECTOR
from mtc_sensor.wire.events import MtcEvent, SampleBatch, VerdictBatch
from mtc_sensor.wire.fields import LinkType, Name, Real, Text, codec_of
from mtc_sensor.wire.records import Records, StreamId

_CACHED = 4096
"""Names and labels that are kept: they repeat."""


class _UnusualError(Exception):
    """Not the shape that Zeek sends; it does not leave this module."""


_WAY_OUT = (_UnusualError, WireError, IndexError, ValueError, TypeError, struct.error)


def decode(data: bytes) -> MtcEvent | Records:
    """Read an event; samples become columns. Raises WireError, and nothing else."""
    if data.startswith(_SAMPLES):
        try:
            return _read_samples(data, len(_SAMPLES))
        except _WAY_OUT:
            pass  # the long way says what is wrong
    return events.decode(broker_bin.decode_event(data))


def encode(event: MtcEvent) -> bytes:
    """Write an event. Raises WireError."""
    if isinstance(event, VerdictBatch) and isinstance(event.verdicts, Answers):
        try:
            return _write_answers(event.verdicts)
        except _WAY_OUT:
            pass
    return broker_bin.encode_event(events.encode(event))


def _beginning(event: type[SampleBatch | VerdictBatch], arguments: int) -> bytes:
    """Return the bytes of an event's message up to the end of its version, the first argument."""
    envelope = bytes([VECTOR, 3]) + struct.pack(">BQBQ", COUNT, 1, COUNT, 1)
    name = bytes([VECTOR, 2, STRING, len(event.event)]) + event.event.encode()
    version = bytes([VECTOR, arguments]) + struct.pack(">BQ", COUNT, events.VERSION)
    return envelope + name + version


_SAMPLES, _VERDICTS = _beginning(SampleBatch, 7), _beginning(VerdictBatch, 6)
_NUMBER = struct.Struct(">BQ")
_BEGIN = np.dtype(
    [("vector", "u1", 2), ("count", "u1"), ("seq", ">u8"), ("string", "u1"), ("length", "u1")]
)
"""Of a verdict: up to its uid, whose length has one byte."""
_KINDS = [_NUMBER.pack(COUNT, kind) for kind in Kind]
"""From there to its model."""
_SCORE = struct.Struct(">BdBQ")
"""score, flags"""


_link, _text, _real = codec_of(LinkType), codec_of(Text), codec_of(Real)
_name_codec = codec_of(Name)
_name = lru_cache(_CACHED)(_name_codec.decode)


def _read_samples(data: bytes, at: int) -> Records:
    run, at = _read_text(data, at)
    node, at = _read_text(data, at)
    shard, at = _read_number(data, at)
    seq, at = _read_number(data, at)
    link, at = _read_number(data, at)
    size, at = _read_length(data, at, VECTOR)
    if not size:
        raise _UnusualError
    stream = StreamId(_name(run), _name(node), shard)
    return lines.read_binary(data, at, size, stream, seq, _link.decode(link))


def _read_number(data: bytes, at: int) -> tuple[int, int]:
    tag, number = _NUMBER.unpack_from(data, at)
    if tag != COUNT:
        raise _UnusualError
    return number, at + _NUMBER.size


def _read_length(data: bytes, at: int, tag: int) -> tuple[int, int]:
    """Read a tag and a length of at most two bytes."""
    size = data[at + 1]
    if data[at] != tag:
        raise _UnusualError
    if size < 0x80:
        return size, at + 2
    if data[at + 2] >= 0x80:
        raise _UnusualError
    return size & 0x7F | data[at + 2] << 7, at + 3


def _read_text(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = _read_length(data, at, STRING)
    return data[at : at + size], at + size


def _write_answers(answers: Answers) -> bytes:
    records, rows = answers.records, answers.rows
    uids, kinds = records.uid[rows].tolist(), records.kind[rows].tolist()
    begins = _begins(records, rows, uids)
    parts = [_VERDICTS, _written_stream(answers.sensor, records.stream)]
    parts.append(_with_length(VECTOR, len(rows)))
    for number, uid in enumerate(uids):
        parts += (
            begins[number * _BEGIN.itemsize : (number + 1) * _BEGIN.itemsize],
            uid,
            _KINDS[kinds[number]],
            _written_name(answers.model[number]),
            _written_label(answers.label[number]),
            _SCORE.pack(REAL, _real.encode(answers.score[number]), COUNT, answers.flags[number]),
            _string(cast(bytes, _text.encode(answers.detail[number]))),
        )
    return b"".join(parts)


def _begins(records: Records, rows: list[int], uids: list[bytes]) -> bytes:
    """Return what is before the uid of each verdict."""
    begins = np.zeros(len(rows), _BEGIN)
    begins["vector"], begins["count"], begins["string"] = (VECTOR, 8), COUNT, STRING
    begins["seq"], begins["length"] = records.seq[rows], list(map(len, uids))
    return begins.tobytes()


def _string(text: bytes) -> bytes:
    return _with_length(STRING, len(text)) + text


def _with_length(tag: int, size: int) -> bytes:
    if size < 0x80:
        return bytes((tag, size))
    if size >= 0x4000:
        raise _UnusualError
    return bytes((tag, size & 0x7F | 0x80, size >> 7))


@lru_cache(_CACHED)
def _written_stream(sensor: str, stream: StreamId) -> bytes:
    names = (sensor, stream.run, stream.node)
    return b"".join(map(_written_name, names)) + _NUMBER.pack(COUNT, stream.shard)


@lru_cache(_CACHED)
def _written_name(name: str) -> bytes:
    return _string(cast(bytes, _name_codec.encode(name)))


@lru_cache(_CACHED)
def _written_label(label: str) -> bytes:
    return _string(cast(bytes, _text.encode(label)))
