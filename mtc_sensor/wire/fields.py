"""Argument types of the MTC events: what is valid, and its form on the wire.

An event's dataclass annotates its fields with these aliases: to Python they are plain types, to
`mtc_sensor.wire.events` they say how to convert and what to refuse.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, cast, get_args

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.errors import WireError
from mtc_sensor.flow import Kind
from mtc_sensor.wire.values import MAX_COUNT, Value, check_counts, vector_items

MAX_NAME = 128
MAX_TEXT = 65535

_NAME = re.compile(rb"[!-.0-~]{1,%d}" % MAX_NAME)
_UID = re.compile(rb"[0-9A-Za-z]{1,24}")
_TEXT = re.compile(rb"[ -~]{0,%d}" % MAX_TEXT)


@dataclass(frozen=True)
class Codec:
    """How one type of argument is written and read; both raise WireError."""

    encode: Callable[[Any], Value]
    decode: Callable[[Value], Any]


def codec_of(annotated: object) -> Codec:
    """Return the codec of one of the aliases below."""
    return cast(Codec, get_args(annotated)[1])


def _count(low: int, high: int) -> Codec:
    def check(value: Value) -> int:
        # bool is an int to Python, not to Broker.
        if type(value) is not int or not low <= value <= high:
            raise WireError(f"{_brief(value)} is no count in {low}..{high}")
        return value

    return Codec(check, check)


def _text(pattern: re.Pattern[bytes], what: str) -> Codec:
    def check(value: Value) -> bytes:
        if not isinstance(value, bytes) or not pattern.fullmatch(value):
            raise WireError(f"{_brief(value)} is no {what}")
        return value

    return Codec(
        lambda text: check(text.encode(errors="surrogatepass")), lambda value: check(value).decode()
    )


def _real(value: Value) -> float:
    if not isinstance(value, float) or not math.isfinite(value):
        raise WireError(f"{_brief(value)} is no finite real")
    return value


def _counts(value: Value) -> NDArray[np.uint64]:
    if isinstance(value, np.ndarray):
        return check_counts(value)
    if value != ():
        raise WireError(f"{_brief(value)} is no vector of counts")
    return np.empty(0, np.uint64)


def _strings(value: Value) -> tuple[bytes, ...]:
    items = vector_items(value)
    if items is None:
        raise WireError(f"{_brief(value)} is no vector of strings")
    for number, item in enumerate(items):
        if not isinstance(item, bytes):
            raise WireError(f"element {number}: {_brief(item)} is no string")
    return cast(tuple[bytes, ...], items)


def _brief(value: Value) -> str:
    return f"{type(value).__name__} {str(value)[:64]}"


Count: TypeAlias = Annotated[int, _count(0, MAX_COUNT)]
LinkType: TypeAlias = Annotated[int, _count(0, 0xFFFF)]
"""LINKTYPE_*, 16 bits in every capture format."""
RecordKind: TypeAlias = Annotated[int, _count(min(Kind), max(Kind))]
Real: TypeAlias = Annotated[float, Codec(_real, _real)]
Name: TypeAlias = Annotated[str, _text(_NAME, "name")]
"""Names a process or a model: graphic ASCII without a slash, for it becomes part of topics."""
Uid: TypeAlias = Annotated[str, _text(_UID, "uid")]
Text: TypeAlias = Annotated[str, _text(_TEXT, "printable ASCII")]
"""Printable ASCII, may be empty: Zeek's JSON does not escape what is not."""
Counts: TypeAlias = Annotated[NDArray[np.uint64], Codec(_counts, _counts)]
Strings: TypeAlias = Annotated[tuple[bytes, ...], Codec(_strings, _strings)]
