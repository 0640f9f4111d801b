"""The events between Zeek's scripts and the sensor (module MTC, version 1), each declared once.

Both formats come from these declarations: `encode` gives a `ZeekEvent` and `decode` takes one,
`broker_bin` and `websocket_api` carry it. On the wire an event's first argument is `VERSION`, the
others are its dataclass's fields in their order. Strings are printable ASCII, see `fields`.
"""

from __future__ import annotations

from collections.abc import Callable
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
from mtc_sensor.wire.values import Value

VERSION = 1

MALICIOUS = 1
UNKNOWN = 2
"""Bits of `Verdict.flags`."""


@dataclass(frozen=True, eq=False)
class Sample:
    """A record of a connection, exporter to sensor."""

    event: ClassVar[str] = "MTC::sample"
    run: Name
    """Unique id of the exporting process: `seq` begins again with it."""
    node: Name
    shard: Count
    seq: Count
    """1, 2, 3 ... in the stream (`run`, `node`, `shard`)."""
    kind: RecordKind
    uid: Uid
    orig_h: Address
    orig_p: Port
    resp_h: Address
    resp_p: Port
    start_us: Microseconds
    samples: Counts
    """(n,) packed as `mtc_sensor.flow` says."""
    link: LinkType
    head: Heads
    """The first packets as captured, from the link layer on."""
    tokens: Text
    """TF document, separated by spaces."""

    def __post_init__(self) -> None:
        if self.orig_p.proto is not self.resp_p.proto:
            raise WireError(f"{self.event}: ports are of different protocols")
        if self.orig_h.version != self.resp_h.version:
            raise WireError(f"{self.event}: addresses are of different families")


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
    Sample | Verdict | SensorHello | Grant | Resend | ExporterStatus | ExporterDrained
)

_Codecs: TypeAlias = tuple[tuple[str, Codec], ...]


def _codecs(cls: type[MtcEvent]) -> _Codecs:
    hints = get_type_hints(cls, include_extras=True)
    return tuple((item.name, hints[item.name].__metadata__[0]) for item in fields(cls))


_CODECS: dict[type[MtcEvent], _Codecs] = {cls: _codecs(cls) for cls in get_args(MtcEvent)}
_CLASSES: dict[str, type[MtcEvent]] = {cls.event: cls for cls in _CODECS}


def encode(event: MtcEvent) -> ZeekEvent:
    """Convert an event to Broker values. Raises WireError for a field out of its range."""
    args: list[Value] = [
        _convert(event.event, key, codec.encode, getattr(event, key))
        for key, codec in _CODECS[type(event)]
    ]
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
    if len(args) != len(_CODECS[cls]) + 1:
        raise WireError(f"{message.name}: {len(args)} arguments, not {len(_CODECS[cls]) + 1}")
    decoded = [
        _convert(message.name, key, codec.decode, arg)
        for (key, codec), arg in zip(_CODECS[cls], args[1:], strict=True)
    ]
    return cls(*decoded)


def _convert(event: str, key: str, function: Callable[[Any], Any], value: Any) -> Any:
    try:
        return function(value)
    except WireError as error:
        raise WireError(f"{event}: {key}: {error}") from None
