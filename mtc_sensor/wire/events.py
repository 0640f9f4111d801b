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
from mtc_sensor.wire import layout
from mtc_sensor.wire.envelope import ZeekEvent
from mtc_sensor.wire.fields import (
    Address,
    Count,
    Counts,
    Heads,
    LinkType,
    Microseconds,
    Name,
    Packed,
    Port,
    Real,
    RecordKind,
    Text,
    Uid,
)
from mtc_sensor.wire.layout import Batch, codecs_of

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
    samples: Packed
    """(n,) packed as `mtc_sensor.flow` says; payload is what a packet added to its connection's."""
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

_BATCHES = {
    SampleBatch: Batch.of(Sample, "records", shared=5, numbered=3),
    VerdictBatch: Batch.of(Verdict, "verdicts", shared=4),
}
_CLASSES: dict[str, type[Any]] = {cls.event: cls for cls in get_args(MtcEvent)}
_CODECS = {cls: codecs_of(cls) for cls in _CLASSES.values() if cls not in _BATCHES}


def encode(event: MtcEvent) -> ZeekEvent:
    """Convert an event to Broker values. Raises WireError for a field out of its range."""
    if isinstance(event, SampleBatch | VerdictBatch):
        batch = _BATCHES[type(event)]
        args = batch.encode(event.event, getattr(event, batch.key))
    else:
        args = layout.encode(event.event, _CODECS[type(event)], event)
    return ZeekEvent(event.event, (VERSION, *args))


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
    event: MtcEvent
    if cls in _BATCHES:
        event = cls(_BATCHES[cls].decode(message.name, args[1:]))
    else:
        event = cls(*layout.decode(message.name, _CODECS[cls], args[1:]))
    return event
