"""MTC events from and to Broker's binary format, with short cuts for the two that are many.

`broker_bin` and `events` say what is valid. `SampleBatch` of the shape that Zeek sends, and every
`VerdictBatch`, skip the tree of values in between; what looks unusual goes the long way, and is
refused there if it is wrong.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import cast, get_args

from mtc_sensor.errors import WireError
from mtc_sensor.wire import broker_bin, events, records
from mtc_sensor.wire.broker_bin import ADDRESS, COUNT, PORT, REAL, STRING, VECTOR
from mtc_sensor.wire.events import MtcEvent, SampleBatch, Verdict, VerdictBatch
from mtc_sensor.wire.fields import (
    Codec,
    LinkType,
    Microseconds,
    Name,
    Real,
    RecordKind,
    Text,
    Uid,
)
from mtc_sensor.wire.records import Records, StreamId
from mtc_sensor.wire.values import MAX_COUNT, Address, Port, Proto, map_address

_CACHED = 4096
"""Names, labels, addresses and ports that are kept: they repeat."""


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
    event = events.decode(broker_bin.decode_event(data))
    return Records.of(event.records) if isinstance(event, SampleBatch) else event


def encode(event: MtcEvent) -> bytes:
    """Write an event. Raises WireError."""
    if isinstance(event, VerdictBatch):
        try:
            return _write_verdicts(event.verdicts)
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
_VERDICT = bytes([VECTOR, 13])
_NUMBER = struct.Struct(">BQ")
_END = struct.Struct(">B16sBHB")
"""A host and its port."""
_SCORE = struct.Struct(">BdBQ")
"""score, flags"""


def _codec(annotated: object) -> Codec:
    return cast(Codec, get_args(annotated)[1])


_kind, _time, _link = _codec(RecordKind), _codec(Microseconds), _codec(LinkType)
_text, _uid, _real = _codec(Text), _codec(Uid), _codec(Real)
_name_codec = _codec(Name)
_name = lru_cache(_CACHED)(_name_codec.decode)


def _read_samples(data: bytes, at: int) -> Records:
    run, at = _read_text(data, at)
    node, at = _read_text(data, at)
    shard, at = _read_number(data, at)
    seq, at = _read_number(data, at)
    link, at = _read_number(data, at)
    size, at = _read_length(data, at, VECTOR)
    if not 0 < size <= MAX_COUNT - seq + 1:
        raise _UnusualError
    stream = StreamId(_name(run), _name(node), shard)
    found = records.read(data, at, stream, seq, size, _link.decode(link))
    if found is None:
        raise _UnusualError
    return found


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


def _write_verdicts(verdicts: tuple[Verdict, ...]) -> bytes:
    parts = [_VERDICTS, b"", _with_length(VECTOR, len(verdicts))]
    for verdict in verdicts:
        header = _written_stream(verdict.sensor, verdict.run, verdict.node, verdict.shard)
        if parts[1] not in (header, b""):
            raise _UnusualError
        parts[1] = header
        parts += _write_verdict(verdict)
    return b"".join(parts)


def _write_verdict(verdict: Verdict) -> tuple[bytes, ...]:
    return (
        _VERDICT,
        _NUMBER.pack(COUNT, verdict.seq),
        _string(cast(bytes, _uid.encode(verdict.uid))),
        _written_end(verdict.orig_h, verdict.orig_p),
        _written_end(verdict.resp_h, verdict.resp_p),
        _NUMBER.pack(COUNT, _time.encode(verdict.start_us)),
        _NUMBER.pack(COUNT, _kind.encode(verdict.kind)),
        _written_name(verdict.model),
        _written_label(verdict.label),
        _SCORE.pack(REAL, _real.encode(verdict.score), COUNT, verdict.flags),
        _string(cast(bytes, _text.encode(verdict.detail))),
    )


def _string(text: bytes) -> bytes:
    return _with_length(STRING, len(text)) + text


def _with_length(tag: int, size: int) -> bytes:
    if size < 0x80:
        return bytes((tag, size))
    if size >= 0x4000:
        raise _UnusualError
    return bytes((tag, size & 0x7F | 0x80, size >> 7))


@lru_cache(_CACHED)
def _written_stream(sensor: str, run: str, node: str, shard: int) -> bytes:
    return b"".join(map(_written_name, (sensor, run, node))) + _NUMBER.pack(COUNT, shard)


@lru_cache(_CACHED)
def _written_name(name: str) -> bytes:
    return _string(cast(bytes, _name_codec.encode(name)))


@lru_cache(_CACHED)
def _written_label(label: str) -> bytes:
    return _string(cast(bytes, _text.encode(label)))


def _written_end(host: Address, port: Port) -> bytes:
    if port.proto is Proto.UNKNOWN:
        raise _UnusualError
    return _END.pack(ADDRESS, map_address(host), PORT, port.number, port.proto)
