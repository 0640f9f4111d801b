"""Times and durations as text, as Broker's JSON has them (``format/json.hh``, CAF's parsers)."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from mtc_sensor.errors import WireError

_SECOND = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_TIMESTAMP = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8})(?:\.([0-9]{1,9}))?Z?", re.ASCII)
_TIMESPAN = re.compile(r"([+-]?[0-9]{1,19})(ns|us|ms|s|min|h)", re.ASCII)
_UNITS = {
    "ns": 1,
    "us": 1000,
    "ms": 1_000_000,
    "s": _SECOND,
    "min": 60 * _SECOND,
    "h": 3600 * _SECOND,
}


def format_timestamp(ns: int) -> str:
    """Write nanoseconds since the epoch: in milliseconds as Broker does, or all digits."""
    seconds, fraction = divmod(ns, _SECOND)
    digits = f"{fraction:09d}"
    moment = _EPOCH + timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{digits[:3] if fraction % 1_000_000 == 0 else digits}"


def parse_timestamp(text: str) -> int:
    """Read ``YYYY-MM-DDThh:mm:ss[.fraction][Z]`` in UTC as nanoseconds since the epoch.

    Raises WireError, or ValueError for a date that does not exist.
    """
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise WireError("timestamp is not of the form YYYY-MM-DDThh:mm:ss.sss")
    moment = datetime.strptime(match[1], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    since = moment - _EPOCH
    return (since.days * 86400 + since.seconds) * _SECOND + int((match[2] or "").ljust(9, "0"))


def format_timespan(ns: int) -> str:
    """Write nanoseconds in the largest of Broker's units that loses nothing."""
    if ns == 0:
        return "0s"
    unit = next(unit for unit in ("s", "ms", "us", "ns") if ns % _UNITS[unit] == 0)
    return f"{ns // _UNITS[unit]}{unit}"


def parse_timespan(text: str) -> int:
    """Read a number and its unit as nanoseconds. Raises WireError."""
    match = _TIMESPAN.fullmatch(text)
    if match is None:
        raise WireError("timespan is not of the form 15s")
    return int(match[1]) * _UNITS[match[2]]
