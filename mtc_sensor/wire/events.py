"""The events between Zeek's scripts and the sensor (module MTC, version 1), each declared once.

Both formats come from these declarations: `encode` gives a `ZeekEvent` and `decode` takes one,
`broker_bin` and `websocket_api` carry it. On the wire an event's first argument is `VERSION`, the
others are its dataclass's fields in their order. Strings are printable ASCII, see `fields`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeAlias, get_args, get_type_hints

from mtc_sensor.errors import WireError
from mtc_sensor.wire.envelope import ZeekEvent
from mtc_sensor.wire.fields import (
    Address,
    Codec,
    Count,
    Counts,
    Heads,
    LinkType,
    Microseconds,
    Name,
    Port,
    Real,
    RecordKind,
    Text,
    Uid,
)
from mtc_sensor.wire.values import MAX_COUNT, Value, vector_items

VERSION = 1

MALICIOUS = 1
UNKNOWN = 2
"""Bits of `Verdict.flags`."""


@dataclass(frozen=True, eq=False)
class Sample:
    """A record of a connection; `SampleBatch` carries it."""

    run: Name
    """Unique id of the exporting process: `seq` begins again with it."""
    node: Name
    shard: Count
    seq: Count
    """1, 2, 3 ... in the stream (`run`, `node`, `shard`)."""
    link: LinkType
    kind: RecordKind
    uid: Uid
    orig_h: Address
    orig_p: Port
    resp_h: Address
    resp_p: Port
    start_us: Microseconds
    samples: Counts
    """(n,) packed as `mtc_sensor.flow` says."""
    head: Heads
    """The first packets as captured, from the link layer on."""
    tokens: Text
    """TF document, separated by spaces."""

    def __post_init__(self) -> None:
        if self.orig_p.proto is not self.resp_p.proto:
            raise WireError("ports are of different protocols")
        if self.orig_h.version != self.resp_h.version:
            raise WireError("addresses are of different families")


@dataclass(frozen=True, eq=False)
class SampleBatch:
    """Records of connections, exporter to sensor.

    They are of one stream and one link type, and their numbers follow each other: on the wire the
    event's arguments are what they share and the first's number, then a vector with the rest of
    each.
    """

    event: ClassVar[str] = "MTC::sample_batch"
    records: tuple[Sample, ...]

    def __post_init__(self) -> None:
        if not self.records:
            raise WireError(f"{self.event}: no records")


@dataclass(frozen=True)
class Verdict:
    """What one model says of one record, sensor to exporter."""

    event: ClassVar[str] = "MTC::verdict"
    sensor: Name
    run: Name
    node: Name
    shard: Count
    seq: Count
    uid: Uid
    orig_h: Address
    orig_p: Port
    resp_h: Address
    resp_p: Port
    start_us: Microseconds
    kind: RecordKind
    model: Name
    label: Text
    score: Real
    flags: Count
    detail: Text


@dataclass(frozen=True, eq=False)
class SensorHello:
    """A sensor is there, sensor to all exporters."""

    event: ClassVar[str] = "MTC::sensor_hello"
    sensor: Name
    shards: Counts


@dataclass(frozen=True)
class Grant:
    """All up to `acked` has arrived, `window` more may follow; sensor to exporter."""

    event: ClassVar[str] = "MTC::grant"
    sensor: Name
    run: Name
    node: Name
    shard: Count
    acked: Count
    window: Count


@dataclass(frozen=True)
class Resend:
    """Samples `first` to `last` are missing, sensor to exporter."""

    event: ClassVar[str] = "MTC::resend"
    sensor: Name
    run: Name
    node: Name
    shard: Count
    first: Count
    last: Count


@dataclass(frozen=True)
class ExporterStatus:
    """Where a stream stands, exporter to sensors."""

    event: ClassVar[str] = "MTC::exporter_status"
    run: Name
    node: Name
    shard: Count
    first_unacked: Count
    last_seq: Count
    shed: Count


@dataclass(frozen=True)
class ExporterDrained:
    """The stream ends with `last_seq`, exporter to sensors."""

    event: ClassVar[str] = "MTC::exporter_drained"
    run: Name
    node: Name
    shard: Count
    last_seq: Count


MtcEvent: TypeAlias = (
    SampleBatch | Verdict | SensorHello | Grant | Resend | ExporterStatus | ExporterDrained
)

_Codecs: TypeAlias = tuple[tuple[str, Codec], ...]


def _codecs(cls: type[Any]) -> _Codecs:
    hints = get_type_hints(cls, include_extras=True)
    return tuple((item.name, hints[item.name].__metadata__[0]) for item in fields(cls))


_CODECS: dict[type[MtcEvent], _Codecs] = {
    cls: _codecs(cls) for cls in get_args(MtcEvent) if cls is not SampleBatch
}
_CLASSES: dict[str, type[MtcEvent]] = {cls.event: cls for cls in get_args(MtcEvent)}

_SHARED, _SEQ = 5, 3
"""Fields that the records of `SampleBatch` share, and which of these is the first's number."""
_HEADER, _RECORD = _codecs(Sample)[:_SHARED], _codecs(Sample)[_SHARED:]


def encode(event: MtcEvent) -> ZeekEvent:
    """Convert an event to Broker values. Raises WireError for a field out of its range."""
    if isinstance(event, SampleBatch):
        return _encode_samples(event)
    return ZeekEvent(event.event, (VERSION, *_encode(event.event, _CODECS[type(event)], event)))


def _encode(where: str, codecs: _Codecs, item: object) -> list[Value]:
    return [_convert(where, key, codec.encode, getattr(item, key)) for key, codec in codecs]


def _encode_samples(event: SampleBatch) -> ZeekEvent:
    header = _encode(event.event, _HEADER, event.records[0])
    records: list[Value] = []
    for number, sample in enumerate(event.records):
        shared = [getattr(sample, key) for key, _ in _HEADER]
        shared[_SEQ] -= number
        if shared != [getattr(event.records[0], key) for key, _ in _HEADER]:
            raise WireError(f"{event.event}: record {number} does not follow the one before")
        records.append(tuple(_encode(_place(number), _RECORD, sample)))
    return ZeekEvent(event.event, (VERSION, *header, tuple(records)))


def _place(number: int) -> str:
    return f"{SampleBatch.event}: record {number}"


def decode(message: ZeekEvent) -> MtcEvent:
    """Convert Broker values to an event.

    Raises WireError for an unknown name, another version, and arguments of the wrong number, type
    or range.
    """
    cls, args = _CLASSES.get(message.name), message.args
    if cls is None:
        raise WireError(f"unknown event {message.name[:64]!r}")
    if not args or type(args[0]) is not int or args[0] != VERSION:
        raise WireError(f"{message.name}: not version {VERSION}: sensor and scripts must match")
    if cls is SampleBatch:
        return _decode_samples(message)
    return cls(*_decode(message.name, _CODECS[cls], args[1:], "arguments", 1))


def _decode(
    where: str, codecs: _Codecs, values: Sequence[Value], what: str, before: int = 0
) -> list[Any]:
    if len(values) != len(codecs):
        raise WireError(f"{where}: {len(values) + before} {what}, not {len(codecs) + before}")
    return [
        _convert(where, key, codec.decode, value)
        for (key, codec), value in zip(codecs, values, strict=True)
    ]


def _decode_samples(message: ZeekEvent) -> SampleBatch:
    *shared, records = message.args[1:] or [()]
    header = _decode(message.name, _HEADER, shared, "arguments", 2)
    items = vector_items(records)
    if items is None:
        raise WireError(f"{message.name}: {type(records).__name__} is no vector of records")
    return SampleBatch(tuple(_decode_record(header, *item) for item in enumerate(items)))


def _decode_record(header: list[Any], number: int, record: Value) -> Sample:
    where, values = _place(number), vector_items(record)
    if values is None:
        raise WireError(f"{where}: {type(record).__name__} is no record")
    run, node, shard, first, link = header
    if first + number > MAX_COUNT:
        raise WireError(f"{where}: its number is more than {MAX_COUNT}")
    rest = _decode(where, _RECORD, values, "fields")
    try:
        return Sample(run, node, shard, first + number, link, *rest)
    except WireError as error:
        raise WireError(f"{where}: {error}") from None


def _convert(event: str, key: str, function: Callable[[Any], Any], value: Any) -> Any:
    try:
        return function(value)
    except WireError as error:
        raise WireError(f"{event}: {key}: {error}") from None
