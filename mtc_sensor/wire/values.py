"""Broker's data model in Python (Broker ``doc/data.rst``, ``variant_tag.hh``).

==========  =====================================================================
Broker      Python
==========  =====================================================================
none        None
boolean     bool
count       int, 0 .. 2^64 - 1
integer     `Integer`
real        float
string      bytes: a Zeek string may hold any
address     IPv4Address, IPv6Address (an IPv4-mapped one becomes IPv4, as in Broker)
subnet      IPv4Network, IPv6Network (likewise)
port        `Port`
timestamp   `Timestamp`
timespan    `Timespan`
enum        `EnumValue`
set         `Set`
table       `Table`
vector      tuple; if its elements are all counts and there is one: NDArray[uint64]
==========  =====================================================================

Encoders take the tuple of counts as well as the array.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.errors import WireError

MAX_COUNT = (1 << 64) - 1
MAX_INTEGER = (1 << 63) - 1
MAX_DEPTH = 32
"""Containers within containers that are followed; an MTC event needs 4."""

_V4_MAPPED = 0xFFFF << 32

_Encoder = TypeVar("_Encoder")


class Proto(IntEnum):
    """A port's transport protocol, numbered as in Broker's ``port.hh``."""

    UNKNOWN = 0
    TCP = 1
    UDP = 2
    ICMP = 3


@dataclass(frozen=True, slots=True)
class Integer:
    """A signed 64-bit number (Zeek's ``int``); a plain int is a count."""

    value: int

    def __post_init__(self) -> None:
        _check_int64(self.value, "integer")


@dataclass(frozen=True, slots=True)
class Timestamp:
    """Nanoseconds since the epoch, signed 64-bit (Zeek's ``time``)."""

    ns: int

    def __post_init__(self) -> None:
        _check_int64(self.ns, "timestamp")


@dataclass(frozen=True, slots=True)
class Timespan:
    """Nanoseconds, signed 64-bit (Zeek's ``interval``)."""

    ns: int

    def __post_init__(self) -> None:
        _check_int64(self.ns, "timespan")


@dataclass(frozen=True, slots=True)
class Port:
    """A port with its transport protocol."""

    number: int
    proto: Proto

    def __post_init__(self) -> None:
        if not 0 <= self.number <= 0xFFFF:
            raise WireError(f"port {self.number} is not in 0..65535")


@dataclass(frozen=True, slots=True)
class EnumValue:
    """The full name of an enum's value, such as ``Notice::ACTION_LOG``."""

    name: str

    def __post_init__(self) -> None:
        if not self.name.isascii():
            raise WireError(f"enum {self.name[:64]!r} is not ASCII")


@dataclass(frozen=True, slots=True)
class Set:
    """A set's elements in the order of the message."""

    items: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A table's (key, value) pairs in the order of the message."""

    items: tuple[tuple[Value, Value], ...] = ()


Address: TypeAlias = IPv4Address | IPv6Address
Subnet: TypeAlias = IPv4Network | IPv6Network
Vector: TypeAlias = tuple["Value", ...] | NDArray[np.uint64]
Value: TypeAlias = (
    bool
    | int
    | Integer
    | float
    | bytes
    | Address
    | Subnet
    | Port
    | Timestamp
    | Timespan
    | EnumValue
    | Set
    | Table
    | Vector
    | None
)


def vector_items(value: Value) -> tuple[Value, ...] | None:
    """Return a vector's elements, whichever of its two shapes it has; None for anything else."""
    if isinstance(value, np.ndarray):
        return tuple(value.tolist())
    return value if isinstance(value, tuple) else None


def check_count(value: int) -> int:
    """Return `value` if it is a count. Raises WireError."""
    if not 0 <= value <= MAX_COUNT:
        raise WireError(f"count {value} is not in 0..2^64-1")
    return value


def check_depth(depth: int) -> None:
    """Refuse containers nested deeper than `MAX_DEPTH`. Raises WireError."""
    if depth > MAX_DEPTH:
        raise WireError(f"containers are nested deeper than {MAX_DEPTH}")


def check_counts(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return `values` if it is a (n,) array of uint64. Raises WireError."""
    if values.dtype != np.uint64 or values.ndim != 1:
        raise WireError(f"an array of {values.dtype} and {values.ndim} axes is no vector of counts")
    return values


def unmap_address(address: Address) -> Address:
    """Return an IPv4-mapped address as IPv4, any other as it is."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def unmap_subnet(subnet: Subnet) -> Subnet:
    """Return a subnet of ::ffff:0:0/96 as IPv4, any other as it is."""
    network = subnet.network_address
    mapped = network.ipv4_mapped if isinstance(network, IPv6Address) else None
    return subnet if mapped is None else IPv4Network((mapped, subnet.prefixlen - 96))


def map_address(address: Address) -> bytes:
    """Return the 16 bytes of an address, IPv4 as ::ffff:a.b.c.d."""
    if isinstance(address, IPv4Address):
        return (_V4_MAPPED | int(address)).to_bytes(16, "big")
    return address.packed


def encoder_of(value: Value, encoders: dict[type, _Encoder]) -> _Encoder:
    """Look up what writes `value`, by its exact type. Raises WireError."""
    try:
        return encoders[type(value)]
    except KeyError:
        raise WireError(f"a {type(value).__name__} is not one of Broker's types") from None


def _check_int64(value: int, what: str) -> None:
    if not -MAX_INTEGER - 1 <= value <= MAX_INTEGER:
        raise WireError(f"{what} {value} does not fit 64 bits")
