"""Argument types of the MTC events: what is valid, and its form on the wire.

An event's dataclass annotates its fields with these aliases: to Python they are plain types, to
`mtc_sensor.wire.events` they say how to convert and what to refuse.
"""

from __future__ import annotations

import binascii
import math
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, TypeAlias, cast, get_args

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.errors import WireError
from mtc_sensor.flow import Kind, unpack_samples
from mtc_sensor.wire import values
from mtc_sensor.wire._packets import PAYLOAD_AT, RESPONDER_AT, unpack_text
from mtc_sensor.wire.values import MAX_COUNT, Proto, Value, check_counts, vector_items

MAX_HEADS = 8
"""Packets of a connection whose first bytes travel with its samples."""
MAX_NAME = 128
MAX_TEXT = 65535
_MAX_HEAD = 65535

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


def _address(value: Value) -> values.Address:
    if not isinstance(value, IPv4Address | IPv6Address):
        raise WireError(f"{_brief(value)} is no address")
    return value


def _port(value: Value) -> values.Port:
    if not isinstance(value, values.Port) or value.proto is Proto.UNKNOWN:
        raise WireError(f"{_brief(value)} is no port of TCP, UDP or ICMP")
    return value


def _counts(value: Value) -> NDArray[np.uint64]:
    if isinstance(value, np.ndarray):
        return check_counts(value)
    if value != ():
        raise WireError(f"{_brief(value)} is no vector of counts")
    return np.empty(0, np.uint64)


def _encode_packed(samples: NDArray[np.uint64]) -> Value:
    check_counts(samples)
    offset_us, from_responder, length, payload = unpack_samples(samples)
    if offset_us[:1].any():
        raise WireError(f"a record begins {offset_us[0]} us after its first packet")
    added = length.astype(np.uint64) << (from_responder * RESPONDER_AT).astype(np.uint64)
    added += payload.astype(np.uint64) << np.uint64(PAYLOAD_AT)
    counters = np.concatenate([np.zeros(1, np.uint64), np.cumsum(added, dtype=np.uint64)])
    times = ",".join([f"{us // 1_000_000}.{us % 1_000_000:06d}" for us in offset_us.tolist()])
    return f'{{"times":[{times}],"counters":[{",".join(map(str, counters.tolist()))}]}}'.encode()


def _decode_packed(value: Value) -> NDArray[np.uint64]:
    if not isinstance(value, bytes):
        raise WireError(f"{_brief(value)} is no string")
    samples = np.empty(len(value) // 2 + 1, np.uint64)
    count = unpack_text(np.frombuffer(value, np.uint8), samples)
    if count < 0:
        raise WireError(f"{_brief(value)} has not the packets of a record")
    return samples[:count].copy()


def _encode_heads(heads: tuple[bytes, ...]) -> Value:
    _check_heads(heads)
    return tuple([b64encode(head) for head in heads])


def _decode_heads(value: Value) -> tuple[bytes, ...]:
    items = vector_items(value)
    if items is None:
        raise WireError(f"{_brief(value)} is no vector of strings")
    # Before decoding: what is too much is not worth the work.
    if len(items) > MAX_HEADS:
        raise WireError(f"{len(items)} packet heads are more than {MAX_HEADS}")
    return _check_heads(tuple([_decode_base64(item) for item in items]))


def _decode_base64(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise WireError(f"{_brief(value)} is no base64 string")
    try:
        return b64decode(value, validate=True)
    except binascii.Error as error:
        raise WireError(f"packet head is not base64: {error}") from None


def _check_heads(heads: tuple[bytes, ...]) -> tuple[bytes, ...]:
    if len(heads) > MAX_HEADS or any(len(head) > _MAX_HEAD for head in heads):
        raise WireError(f"packet heads are at most {MAX_HEADS}, each of {_MAX_HEAD} bytes")
    return heads


def _brief(value: Value) -> str:
    return f"{type(value).__name__} {str(value)[:64]}"


Count: TypeAlias = Annotated[int, _count(0, MAX_COUNT)]
Microseconds: TypeAlias = Annotated[int, _count(0, values.MAX_INTEGER)]
"""Since the epoch; half the range of a count, so that numpy has it as int64."""
LinkType: TypeAlias = Annotated[int, _count(0, 0xFFFF)]
"""LINKTYPE_*, 16 bits in every capture format."""
RecordKind: TypeAlias = Annotated[int, _count(min(Kind), max(Kind))]
Real: TypeAlias = Annotated[float, Codec(_real, _real)]
Name: TypeAlias = Annotated[str, _text(_NAME, "name")]
"""Names a process or a model: graphic ASCII without a slash, for it becomes part of topics."""
Uid: TypeAlias = Annotated[str, _text(_UID, "uid")]
Text: TypeAlias = Annotated[str, _text(_TEXT, "printable ASCII")]
"""Printable ASCII, may be empty: Zeek's JSON does not escape what is not."""
Address: TypeAlias = Annotated[values.Address, Codec(_address, _address)]
Port: TypeAlias = Annotated[values.Port, Codec(_port, _port)]
Counts: TypeAlias = Annotated[NDArray[np.uint64], Codec(_counts, _counts)]
Packed: TypeAlias = Annotated[NDArray[np.uint64], Codec(_encode_packed, _decode_packed)]
"""Packed samples here; payload is what the packet added to its connection's. On the wire it is
``MTC::Packets`` in JSON, one string: in vectors each number would cost Zeek a value there."""
Heads: TypeAlias = Annotated[tuple[bytes, ...], Codec(_encode_heads, _decode_heads)]
"""Bytes here, base64 on the wire."""
