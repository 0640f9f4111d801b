r"""Broker's JSON format v1: a value is ``{"@data-type": type, "data": content}``.

Sources: Broker ``format/json.hh``, ``internal/json.cc``, ``doc/web-socket.rst``. Zeek's side of it
is not quite JSON: its strings carry control characters as they are, and ``\v``. Both are read here.
Timestamps come from Zeek in milliseconds, reals with six decimals; towards Zeek both keep their
precision, but for the last bit, which Broker's parser rounds its own way (and it takes subnormal
reals for others). Reals that are not finite have no place in JSON, nor have strings that are not
UTF-8.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.errors import WireError
from mtc_sensor.wire.iso_time import (
    format_timespan,
    format_timestamp,
    parse_timespan,
    parse_timestamp,
)
from mtc_sensor.wire.values import (
    Address,
    EnumValue,
    Integer,
    Port,
    Proto,
    Set,
    Subnet,
    Table,
    Timespan,
    Timestamp,
    Value,
    check_count,
    check_counts,
    check_depth,
    encoder_of,
    unmap_address,
    unmap_subnet,
)

_T = TypeVar("_T")
_PROTOS = {Proto.UNKNOWN: "?", Proto.TCP: "tcp", Proto.UDP: "udp", Proto.ICMP: "icmp"}
_PROTO_NAMES = {name: proto for proto, name in _PROTOS.items()}
_PORT = re.compile(r"([0-9]{1,5})/(tcp|udp|icmp|\?)")
_CACHED = 4096
"""Addresses and ports that are kept: they repeat."""
_ESCAPE = re.compile(r"\\[\\v]")


def encode(value: Value) -> str:
    """Write `value`. Raises WireError if JSON has no place for it."""
    return dump(to_tree(value))


def decode(text: str) -> Value:
    """Read one value. Raises WireError, and nothing else, for anything that is malformed."""
    return from_tree(load(text))


def dump(tree: object) -> str:
    """Write plain objects as JSON. Raises WireError for a real that is not finite."""
    try:
        # A float's repr always has a point or an exponent: Broker takes neither for an integer.
        return json.dumps(tree, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        raise WireError("a real that is not finite has no place in JSON") from None


def load(text: str) -> object:
    """Read JSON as Zeek writes it into plain objects. Raises WireError."""
    if "\\v" in text:
        text = _ESCAPE.sub(lambda match: r"\u000b" if match[0] == r"\v" else match[0], text)
    try:
        return json.loads(text, strict=False, parse_constant=_refuse)
    except ValueError as error:
        raise WireError(f"not JSON: {error}") from None
    except RecursionError:
        raise WireError("JSON is nested too deep") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number")


def field(tree: object, key: str, kind: type[_T]) -> _T:
    """Return the field of an object, which must be exactly of type `kind`. Raises WireError."""
    if not isinstance(tree, dict):
        raise WireError(f"object with {key!r} wanted, not {type(tree).__name__}")
    value = tree.get(key)
    if type(value) is not kind:
        raise WireError(f"{key!r} must be {kind.__name__}, not {type(value).__name__}")
    return value


def from_tree(tree: object, depth: int = 0) -> Value:
    """Read a value from plain objects; keys that are not its own are passed over.

    Raises WireError.
    """
    tag = field(tree, "@data-type", str)
    reader = _READERS.get(tag)
    if reader is None:
        raise WireError(f"unknown type {tag[:64]!r}")
    try:
        return reader(tree, depth)
    except ValueError as error:
        raise WireError(f"{tag}: {error}") from None


def _read_count(tree: object, _: int) -> int:
    return check_count(field(tree, "data", int))


def _read_real(tree: object, _: int) -> float:
    value = field(tree, "data", float)
    if not np.isfinite(value):
        raise WireError("real is out of range")
    return value


def _read_address(tree: object, _: int) -> Address:
    return _address(_unscoped(tree))


def _read_subnet(tree: object, _: int) -> Subnet:
    text = _unscoped(tree)
    length = text.partition("/")[2]
    # Python would take a netmask for the length, and no length for a host.
    if not length.isdecimal():
        raise WireError("subnet has no prefix length")
    return unmap_subnet(ip_network(text))


def _unscoped(tree: object) -> str:
    """Return an address's text; Python would take ``fe80::1%eth0``, Broker does not."""
    text = field(tree, "data", str)
    if "%" in text:
        raise WireError("address has a scope")
    return text


@lru_cache(_CACHED)
def _address(text: str) -> Address:
    return unmap_address(ip_address(text))


def _read_port(tree: object, _: int) -> Port:
    return _port(field(tree, "data", str))


@lru_cache(_CACHED)
def _port(text: str) -> Port:
    match = _PORT.fullmatch(text)
    if match is None:
        raise WireError("port is not of the form 80/tcp")
    return Port(int(match[1]), _PROTO_NAMES[match[2]])


def _read_items(tree: object, depth: int) -> tuple[Value, ...]:
    check_depth(depth)
    return tuple([from_tree(item, depth + 1) for item in field(tree, "data", list)])


def _read_vector(tree: object, depth: int) -> Value:
    counts = _read_counts(field(tree, "data", list))
    return _read_items(tree, depth) if counts is None else counts


def _read_counts(items: list[Any]) -> NDArray[np.uint64] | None:
    """Read all elements at once if all of them are counts."""
    try:
        numbers = [item["data"] for item in items if item["@data-type"] == "count"]
    except (TypeError, KeyError):
        return None
    # numpy would take 1.5 for 1 and true for 1.
    if len(numbers) != len(items) or set(map(type, numbers)) != {int}:
        return None
    try:
        return np.array(numbers, np.uint64)
    except OverflowError:
        return None


def _read_table(tree: object, depth: int) -> Table:
    check_depth(depth)
    pairs = [
        (
            from_tree(field(pair, "key", dict), depth + 1),
            from_tree(field(pair, "value", dict), depth + 1),
        )
        for pair in field(tree, "data", list)
    ]
    return Table(tuple(pairs))


_READERS: dict[str, Callable[[object, int], Value]] = {
    "none": lambda tree, _: None,
    "boolean": lambda tree, _: field(tree, "data", bool),
    "count": _read_count,
    "integer": lambda tree, _: Integer(field(tree, "data", int)),
    "real": _read_real,
    "string": lambda tree, _: field(tree, "data", str).encode(),
    "address": _read_address,
    "subnet": _read_subnet,
    "port": _read_port,
    "timestamp": lambda tree, _: Timestamp(parse_timestamp(field(tree, "data", str))),
    "timespan": lambda tree, _: Timespan(parse_timespan(field(tree, "data", str))),
    "enum-value": lambda tree, _: EnumValue(field(tree, "data", str)),
    "set": lambda tree, depth: Set(_read_items(tree, depth)),
    "table": _read_table,
    "vector": _read_vector,
}


def to_tree(value: Value, depth: int = 0) -> dict[str, object]:
    """Write `value` as plain objects. Raises WireError."""
    tag, write = encoder_of(value, _WRITERS)
    return {"@data-type": tag, "data": write(value, depth)}


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise WireError("a string that is not UTF-8 has no place in JSON") from None


def _items(values: tuple[Value, ...], depth: int) -> list[object]:
    check_depth(depth)
    return [to_tree(value, depth + 1) for value in values]


def _pairs(table: Table, depth: int) -> list[object]:
    check_depth(depth)
    return [
        {"key": to_tree(key, depth + 1), "value": to_tree(value, depth + 1)}
        for key, value in table.items
    ]


def _counts(counts: NDArray[np.uint64], depth: int) -> list[object]:
    check_depth(depth)
    return [{"@data-type": "count", "data": count} for count in check_counts(counts).tolist()]


_WRITERS: dict[type, tuple[str, Callable[[Any, int], object]]] = {
    type(None): ("none", lambda value, _: {}),
    bool: ("boolean", lambda value, _: value),
    int: ("count", lambda value, _: check_count(value)),
    Integer: ("integer", lambda value, _: value.value),
    float: ("real", lambda value, _: value),
    bytes: ("string", lambda value, _: _text(value)),
    IPv4Address: ("address", lambda value, _: str(value)),
    IPv6Address: ("address", lambda value, _: str(unmap_address(value))),
    IPv4Network: ("subnet", lambda value, _: str(value)),
    IPv6Network: ("subnet", lambda value, _: str(unmap_subnet(value))),
    Port: ("port", lambda value, _: f"{value.number}/{_PROTOS[value.proto]}"),
    Timestamp: ("timestamp", lambda value, _: format_timestamp(value.ns)),
    Timespan: ("timespan", lambda value, _: format_timespan(value.ns)),
    EnumValue: ("enum-value", lambda value, _: value.name),
    Set: ("set", lambda value, depth: _items(value.items, depth)),
    Table: ("table", _pairs),
    tuple: ("vector", _items),
    np.ndarray: ("vector", _counts),
}
