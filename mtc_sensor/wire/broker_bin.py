"""Broker's binary format v1: what Zeek's cluster backends send as ``broker-bin-v1``.

Every value is a tag byte and its content; numbers are big-endian, lengths are varbytes (7 bits a
byte, least significant first, at most 32 bits). Source: Broker ``format/bin.hh``,
``variant_tag.hh``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.errors import WireError
from mtc_sensor.wire.envelope import ZeekEvent
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
    map_address,
    unmap_address,
    unmap_subnet,
)

(
    _NONE,
    _BOOLEAN,
    COUNT,
    _INTEGER,
    REAL,
    STRING,
    ADDRESS,
    _SUBNET,
    PORT,
    _TIMESTAMP,
    _TIMESPAN,
    _ENUM,
    _SET,
    _TABLE,
    VECTOR,
) = range(15)

_U64 = struct.Struct(">Q")
_I64 = struct.Struct(">q")
_F64 = struct.Struct(">d")
_U16_U8 = struct.Struct(">HB")
COUNT_DTYPE = np.dtype([("tag", "u1"), ("value", ">u8")])
_MAX_VARBYTE = 5
_MAX_LENGTH = (1 << 32) - 1


def encode(value: Value) -> bytes:
    """Write `value`. Raises WireError if it has no place in Broker's data model."""
    out = bytearray()
    _write(out, value, 0)
    return bytes(out)


def decode(data: bytes) -> Value:
    """Read the one value that `data` consists of.

    A length is checked against what is left before anything is allocated, nesting ends at
    `MAX_DEPTH`. Raises WireError, and nothing else, for anything that is malformed.
    """
    reader = _Reader(data)
    value = _read(reader, 0)
    if reader.pos != len(data):
        raise WireError(f"{len(data) - reader.pos} bytes after the value's end at {reader.pos}")
    return value


def encode_event(event: ZeekEvent) -> bytes:
    """Write an event in its envelope. Raises WireError."""
    return encode(event.to_value())


def decode_event(data: bytes) -> ZeekEvent:
    """Read an event in its envelope. Raises WireError."""
    return ZeekEvent.from_value(decode(data))


class _Reader:
    """Bytes and a position in them."""

    __slots__ = ("data", "pos")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.pos = 0

    def take(self, size: int) -> bytes:
        begin = self.pos
        if size > len(self.data) - begin:
            raise WireError(f"{size} bytes wanted at {begin}, {len(self.data) - begin} are left")
        self.pos = begin + size
        return self.data[begin : self.pos]

    def unpack(self, layout: struct.Struct) -> tuple[Any, ...]:
        begin = self.pos
        self.pos = begin + layout.size
        return layout.unpack_from(self.data, begin)

    def length(self, least: int) -> int:
        """Read the number of elements that take `least` bytes each, or more."""
        begin, value = self.pos, 0
        for index, byte in enumerate(self.data[begin : begin + _MAX_VARBYTE]):
            value |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                break
        else:
            raise WireError(f"length at {begin} has no end")
        self.pos = begin + index + 1
        if value > _MAX_LENGTH or value * least > len(self.data) - self.pos:
            raise WireError(f"length {value} at {begin} is more than what is left")
        return value


def _read(reader: _Reader, depth: int) -> Value:
    begin = reader.pos
    tag = reader.data[begin] if begin < len(reader.data) else None
    if tag is None or tag > VECTOR:
        raise WireError(f"no known tag at {begin}, but {tag}")
    reader.pos = begin + 1
    try:
        return _READERS[tag](reader, depth)
    except (ValueError, struct.error) as error:
        raise WireError(f"value of tag {tag} at {begin}: {error}") from None


def _read_counts(reader: _Reader, size: int) -> NDArray[np.uint64] | None:
    """Read `size` elements at once if all of them are counts."""
    data, last = reader.data, reader.pos + (size - 1) * COUNT_DTYPE.itemsize
    # The last element's tag sends nearly all other vectors away before numpy is asked.
    if not size or last + COUNT_DTYPE.itemsize > len(data) or data[last] != COUNT:
        return None
    elements = np.frombuffer(data, COUNT_DTYPE, size, reader.pos)
    if not (elements["tag"] == COUNT).all():
        return None
    reader.pos += elements.nbytes
    return elements["value"].astype(np.uint64)


def _read_vector(reader: _Reader, depth: int) -> Value:
    check_depth(depth)
    size = reader.length(1)
    counts = _read_counts(reader, size)
    if counts is not None:
        return counts
    return tuple([_read(reader, depth + 1) for _ in range(size)])


def _read_set(reader: _Reader, depth: int) -> Set:
    check_depth(depth)
    return Set(tuple([_read(reader, depth + 1) for _ in range(reader.length(1))]))


def _read_table(reader: _Reader, depth: int) -> Table:
    check_depth(depth)
    size = reader.length(2)
    pairs = [(_read(reader, depth + 1), _read(reader, depth + 1)) for _ in range(size)]
    return Table(tuple(pairs))


def _read_subnet(reader: _Reader, _: int) -> Subnet:
    network = reader.take(16)
    return unmap_subnet(IPv6Network((network, reader.take(1)[0])))


def _read_port(reader: _Reader, _: int) -> Port:
    number, proto = reader.unpack(_U16_U8)
    return Port(number, Proto(proto))


_READERS: tuple[Callable[[_Reader, int], Value], ...] = (
    lambda reader, _: None,
    lambda reader, _: reader.take(1) != b"\0",
    lambda reader, _: int(reader.unpack(_U64)[0]),
    lambda reader, _: Integer(*reader.unpack(_I64)),
    lambda reader, _: float(reader.unpack(_F64)[0]),
    lambda reader, _: reader.take(reader.length(1)),
    lambda reader, _: unmap_address(IPv6Address(reader.take(16))),
    _read_subnet,
    _read_port,
    lambda reader, _: Timestamp(*reader.unpack(_I64)),
    lambda reader, _: Timespan(*reader.unpack(_I64)),
    lambda reader, _: EnumValue(reader.take(reader.length(1)).decode()),
    _read_set,
    _read_table,
    _read_vector,
)


def _write(out: bytearray, value: Value, depth: int) -> None:
    encoder_of(value, _WRITERS)(out, value, depth)


def _write_head(out: bytearray, tag: int, length: int) -> None:
    """Write a tag and a length as a varbyte."""
    if length > _MAX_LENGTH:
        raise WireError(f"length {length} does not fit 32 bits")
    out.append(tag)
    while length > 0x7F:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    out.append(length)


def _write_text(tag: int, out: bytearray, text: bytes) -> None:
    _write_head(out, tag, len(text))
    out += text


def _write_items(tag: int, out: bytearray, items: tuple[Value, ...], depth: int) -> None:
    check_depth(depth)
    _write_head(out, tag, len(items))
    for item in items:
        _write(out, item, depth + 1)


def _write_table(out: bytearray, table: Table, depth: int) -> None:
    check_depth(depth)
    _write_head(out, _TABLE, len(table.items))
    for key, value in table.items:
        _write(out, key, depth + 1)
        _write(out, value, depth + 1)


def _write_counts(out: bytearray, counts: NDArray[np.uint64], depth: int) -> None:
    check_depth(depth)
    _write_head(out, VECTOR, len(check_counts(counts)))
    elements = np.empty(len(counts), COUNT_DTYPE)
    elements["tag"], elements["value"] = COUNT, counts
    out += elements.tobytes()


def _write_address(out: bytearray, address: Address, _: int) -> None:
    out.append(ADDRESS)
    out += map_address(address)


def _write_subnet(out: bytearray, subnet: Subnet, _: int) -> None:
    out.append(_SUBNET)
    out += map_address(subnet.network_address)
    out.append(subnet.prefixlen + 128 - subnet.max_prefixlen)


def _write_number(tag: int, layout: struct.Struct, out: bytearray, number: float) -> None:
    out.append(tag)
    out += layout.pack(number)


def _write_port(out: bytearray, port: Port, _: int) -> None:
    out.append(PORT)
    out += _U16_U8.pack(port.number, port.proto)


_WRITERS: dict[type, Callable[[bytearray, Any, int], None]] = {
    type(None): lambda out, value, _: out.append(_NONE),
    bool: lambda out, value, _: out.extend((_BOOLEAN, value)),
    int: lambda out, value, _: _write_number(COUNT, _U64, out, check_count(value)),
    Integer: lambda out, value, _: _write_number(_INTEGER, _I64, out, value.value),
    float: lambda out, value, _: _write_number(REAL, _F64, out, value),
    bytes: lambda out, value, _: _write_text(STRING, out, value),
    IPv4Address: _write_address,
    IPv6Address: _write_address,
    IPv4Network: _write_subnet,
    IPv6Network: _write_subnet,
    Port: _write_port,
    Timestamp: lambda out, value, _: _write_number(_TIMESTAMP, _I64, out, value.ns),
    Timespan: lambda out, value, _: _write_number(_TIMESPAN, _I64, out, value.ns),
    EnumValue: lambda out, value, _: _write_text(_ENUM, out, value.name.encode()),
    Set: lambda out, value, depth: _write_items(_SET, out, value.items, depth),
    Table: _write_table,
    tuple: lambda out, value, depth: _write_items(VECTOR, out, value, depth),
    np.ndarray: _write_counts,
}
