"""The events between Zeek's scripts and the sensor (module MTC, version 1), each declared once.

Both formats come from these declarations: `encode` gives a `ZeekEvent` and `decode` takes one,
`broker_bin` and `websocket_api` carry it. On the wire an event's first argument is `VERSION`, the
others are its dataclass's fields in their order. Strings are printable ASCII, see `fields`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, get_args

from mtc_sensor.errors import WireError
from mtc_sensor.wire import layout, lines
from mtc_sensor.wire.envelope import ZeekEvent
from mtc_sensor.wire.fields import (
    Count,
    Counts,
    LinkType,
    Name,
    Real,
    RecordKind,
    Strings,
    Text,
    Uid,
)
from mtc_sensor.wire.layout import Batch, codecs_of
from mtc_sensor.wire.records import Records, StreamId

VERSION = 1

MALICIOUS = 1
UNKNOWN = 2
"""Bits of `Verdict.flags`."""


@dataclass(frozen=True, eq=False)
class SampleBatch:
    """Records of connections, exporter to sensor.

    They are of one stream and one link type, and their numbers follow each other. `decode` reads
    them: it returns `Records`.
    """

    event: ClassVar[str] = "MTC::sample_batch"
    run: Name
    """Unique id of the exporting process: `seq` begins again with it."""
    node: Name
    shard: Count
    seq: Count
    """The first's number: 1, 2, 3 ... in the stream (`run`, `node`, `shard`)."""
    link: LinkType
    records: Strings
    """A line for each, see `mtc_sensor.wire.lines`: one value is what Zeek pays least for."""

    def __post_init__(self) -> None:
        if not self.records:
            raise WireError(f"{self.event}: no records")


@dataclass(frozen=True)
class Verdict:
    """What one model says of one record, which its exporter knows; `VerdictBatch` carries it."""

    sensor: Name
    run: Name
    node: Name
    shard: Count
    seq: Count
    uid: Uid
    kind: RecordKind
    model: Name
    label: Text
    score: Real
    flags: Count
    detail: Text


@dataclass(frozen=True)
class VerdictBatch:
    """Verdicts of one sensor on records of one stream, sensor to exporter.

    On the wire the event's arguments are sensor and stream, then a vector with the rest of each.
    """

    event: ClassVar[str] = "MTC::verdict_batch"
    verdicts: Sequence[Verdict]

    def __post_init__(self) -> None:
        if not self.verdicts:
            raise WireError(f"{self.event}: no verdicts")


@dataclass(frozen=True, eq=False)
class SensorHello:
    """A sensor is there, sensor to all exporters; without shards it asks where they stand."""

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
    SampleBatch | VerdictBatch | SensorHello | Grant | Resend | ExporterStatus | ExporterDrained
)

_VERDICTS = Batch.of(Verdict, "verdicts", shared=4)
_CLASSES: dict[str, type[Any]] = {cls.event: cls for cls in get_args(MtcEvent)}
_CODECS = {cls: codecs_of(cls) for cls in _CLASSES.values() if cls is not VerdictBatch}


def encode(event: MtcEvent) -> ZeekEvent:
    """Convert an event to Broker values. Raises WireError for a field out of its range."""
    if isinstance(event, VerdictBatch):
        args = _VERDICTS.encode(event.event, event.verdicts)
    else:
        args = layout.encode(event.event, _CODECS[type(event)], event)
    return ZeekEvent(event.event, (VERSION, *args))


def decode(message: ZeekEvent) -> MtcEvent | Records:
    """Convert Broker values to an event, or to records what is a `SampleBatch`.

    Raises WireError for an unknown name, another version, and arguments of the wrong number, type
    or range.
    """
    cls, args = _CLASSES.get(message.name), message.args
    if cls is None:
        raise WireError(f"unknown event {message.name[:64]!r}")
    if not args or type(args[0]) is not int or args[0] != VERSION:
        raise WireError(f"{message.name}: not version {VERSION}: sensor and scripts must match")
    if cls is VerdictBatch:
        return VerdictBatch(_VERDICTS.decode(message.name, args[1:]))
    event: MtcEvent = cls(*layout.decode(message.name, _CODECS[cls], args[1:]))
    return _read(event) if isinstance(event, SampleBatch) else event


def _read(batch: SampleBatch) -> Records:
    stream = StreamId(batch.run, batch.node, batch.shard)
    try:
        return lines.read(batch.records, stream, batch.seq, batch.link)
    except WireError as error:
        raise WireError(f"{batch.event}: {error}") from None
