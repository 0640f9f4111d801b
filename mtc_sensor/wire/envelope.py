"""Zeek's event envelope, the same in both formats (Broker ``zeek.hh``).

``[version, type, [name, args, metadata]]`` with version 1 and type 1 (event). The other types
(logs, identifiers, batches of them) are between Zeek processes only: a cluster backend's
serializer (``broker/Serializer.cc``) reads nothing but events.
"""

from __future__ import annotations

from dataclasses import dataclass

from mtc_sensor.errors import WireError
from mtc_sensor.wire.values import Timestamp, Value, vector_items

_VERSION = 1
_EVENT = 1
_NETWORK_TIMESTAMP = 1


@dataclass(frozen=True)
class ZeekEvent:
    """An event of Zeek's as it crosses the bus."""

    name: str
    """With its module, such as ``MTC::sample_batch``."""
    args: tuple[Value, ...]
    network_time: Timestamp | None = None
    """Zeek's network time when it was published, if it came along; other metadata is left out."""

    def to_value(self) -> Value:
        """Wrap the event in its envelope."""
        content: tuple[Value, ...] = (self.name.encode(), self.args)
        if self.network_time is not None:
            content += (((_NETWORK_TIMESTAMP, self.network_time),),)
        return (_VERSION, _EVENT, content)

    @classmethod
    def from_value(cls, value: Value) -> ZeekEvent:
        """Take the event out of its envelope. Raises WireError."""
        outer = vector_items(value)
        if outer is None or len(outer) < 3:
            raise WireError("message is not a Zeek message: it is no vector of three")
        if not _is_count(outer[0], _VERSION) or not _is_count(outer[1], _EVENT):
            raise WireError(f"message of version {outer[0]!r} and type {outer[1]!r} is no event")
        content = vector_items(outer[2])
        if content is None or len(content) < 2 or not isinstance(content[0], bytes):
            raise WireError("event has no name and arguments")
        name, args = _name(content[0]), vector_items(content[1])
        if args is None:
            raise WireError(f"{name}: arguments are no vector")
        return cls(name, args, _network_time(content[2]) if len(content) > 2 else None)


def _is_count(value: Value, expected: int) -> bool:
    return type(value) is int and value == expected


def _name(raw: bytes) -> str:
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError:
        raise WireError(f"event name {raw[:64]!r} is not ASCII") from None


def _network_time(metadata: Value) -> Timestamp | None:
    entries = vector_items(metadata)
    if entries is None:
        raise WireError("event metadata is no vector")
    for entry in entries:
        pair = vector_items(entry)
        if pair is None or len(pair) != 2:
            raise WireError("event metadata is no vector of pairs")
        if _is_count(pair[0], _NETWORK_TIMESTAMP):
            if not isinstance(pair[1], Timestamp):
                raise WireError("network time is no timestamp")
            return pair[1]
    return None
