from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtc_sensor.errors import WireError
from mtc_sensor.wire import broker_bin
from mtc_sensor.wire.envelope import ZeekEvent
from mtc_sensor.wire.values import (
    MAX_DEPTH,
    EnumValue,
    Integer,
    Port,
    Proto,
    Set,
    Table,
    Timespan,
    Timestamp,
    Value,
)
from tests.unit.wire.build import binary_values, canonical

MAPPED = "00000000000000000000ffff"

# By hand from Broker's format/bin.hh: tag, then content.
LITERALS: list[tuple[str, Value]] = [
    ("00", None),
    ("0100", False),
    ("0101", True),
    ("02000000000000002a", 42),
    ("02ffffffffffffffff", 2**64 - 1),
    ("03fffffffffffffff9", Integer(-7)),
    ("04c01e000000000000", -7.5),
    ("0500", b""),
    ("0504 54455354", b"TEST"),
    ("0503 00ff5c", b"\x00\xff\\"),
    ("058001" + "61" * 128, b"a" * 128),
    ("06" + MAPPED + "c0a86309", IPv4Address("192.168.99.9")),
    ("0620010db8000000000000000000000001", IPv6Address("2001:db8::1")),
    ("07" + MAPPED + "0a000000" + "68", IPv4Network("10.0.0.0/8")),
    ("0720010db800000000000000000000000020", IPv6Network("2001:db8::/32")),
    ("08005001", Port(80, Proto.TCP)),
    ("08003502", Port(53, Proto.UDP)),
    ("08000803", Port(8, Proto.ICMP)),
    ("08000000", Port(0, Proto.UNKNOWN)),
    ("09000000003b9aca00", Timestamp(1_000_000_000)),
    ("09ffffffffffffffff", Timestamp(-1)),
    ("0a0000000000000001", Timespan(1)),
    ("0b03 666f6f", EnumValue("foo")),
    ("0c00", Set()),
    ("0c02 0101 00", Set((True, None))),
    ("0d00", Table()),
    ("0d01 050161 020000000000000001", Table(((b"a", 1),))),
    ("0e00", ()),
    ("0e02 0101 0e01 00", (True, (None,))),
]


@pytest.mark.parametrize(("text", "value"), LITERALS)
def test_literal_bytes_of_every_type(text: str, value: Value) -> None:
    data = bytes.fromhex(text)
    assert broker_bin.encode(value) == data
    assert canonical(broker_bin.decode(data)) == canonical(value)


def test_zeeks_own_example_of_an_event() -> None:
    # The bytes that Zeek's cluster/serializer/broker/Serializer.cc expects in its own test.
    data = bytes.fromhex(
        "0e03020000000000000001020000000000000001"
        "0e030517"
        + b"Supervisor::node_status".hex()
        + "0e020504"
        + b"TEST".hex()
        + "02000000000000002a"
        "0e010e02020000000000000001090000000000000000"
    )
    event = ZeekEvent("Supervisor::node_status", (b"TEST", 42), Timestamp(0))
    assert broker_bin.encode_event(event) == data
    assert broker_bin.decode_event(data) == event


def test_a_vector_of_counts_is_an_array() -> None:
    data = bytes.fromhex("0e03 020000000000000001 02ffffffffffffffff 020000000000000000")
    value = broker_bin.decode(data)
    assert isinstance(value, np.ndarray)
    assert value.dtype == np.uint64
    assert value.tolist() == [1, 2**64 - 1, 0]
    assert broker_bin.encode(value) == data == broker_bin.encode((1, 2**64 - 1, 0))


def test_a_vector_that_only_begins_and_ends_with_counts_is_none() -> None:
    value = (1, 1.0, Integer(3), 4)
    decoded = broker_bin.decode(broker_bin.encode(value))
    assert isinstance(decoded, tuple)
    assert canonical(decoded) == canonical(value)


def test_a_mapped_address_is_ipv4() -> None:
    mapped = IPv6Address("::ffff:192.0.2.1")
    assert broker_bin.decode(broker_bin.encode(mapped)) == IPv4Address("192.0.2.1")
    assert broker_bin.decode(broker_bin.encode(IPv6Network("::ffff:0:0/96"))) == IPv4Network(
        "0.0.0.0/0"
    )


@given(binary_values)
def test_round_trip(value: Value) -> None:
    assert canonical(broker_bin.decode(broker_bin.encode(value))) == canonical(value)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_wire_error(data: bytes) -> None:
    try:
        value = broker_bin.decode(data)
    except WireError:
        return
    # Not the same bytes: Broker takes any byte but 0 for true, and lengths of needless zeros.
    assert canonical(broker_bin.decode(broker_bin.encode(value))) == canonical(value)


@pytest.mark.parametrize(("text", "value"), LITERALS)
def test_every_cut_of_a_value_is_refused(text: str, value: Value) -> None:
    data = bytes.fromhex(text)
    for size in range(len(data)):
        with pytest.raises(WireError):
            broker_bin.decode(data[:size])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no known tag at 0, but None"),
        ("0f", "no known tag at 0, but 15"),
        ("0000", "1 bytes after the value's end at 1"),
        ("05ffffffff0f", "length 4294967295 at 1 is more than what is left"),
        ("05ffffffff7f", "is more than what is left"),
        ("05ffffffffffff", "length at 1 has no end"),
        ("0effffffff0f" + "02" * 40, "is more than what is left"),
        ("0d03" + "00" * 5, "length 3 at 1 is more than what is left"),
        ("08005004", "4 is not a valid Proto"),
        ("07" + MAPPED + "0a000001" + "68", "has host bits set"),
        ("07" + "00" * 16 + "81", "129"),
        ("0b01ff", "tag 11 at 0"),
    ],
)
def test_what_is_malformed_is_refused(text: str, message: str) -> None:
    with pytest.raises(WireError, match=message):
        broker_bin.decode(bytes.fromhex(text))


@pytest.mark.parametrize("tag", ["0c01", "0e01", "0d0100"])
def test_nesting_ends(tag: str) -> None:
    broker_bin.decode(bytes.fromhex(tag * MAX_DEPTH + "00"))
    with pytest.raises(WireError, match="nested deeper"):
        broker_bin.decode(bytes.fromhex(tag * 100_000 + "00"))


@pytest.mark.parametrize(
    "value",
    [-1, 2**64, "text", [1], np.array([1], np.int64), np.zeros((2, 2), np.uint64), object()],
)
def test_what_has_no_place_is_refused(value: Value) -> None:
    with pytest.raises(WireError):
        broker_bin.encode(value)


def test_values_out_of_range_cannot_be_made() -> None:
    for make in (Integer, Timestamp, Timespan):
        with pytest.raises(WireError, match="does not fit 64 bits"):
            make(2**63)
    with pytest.raises(WireError, match=r"not in 0\.\.65535"):
        Port(65536, Proto.TCP)
    with pytest.raises(WireError, match="not ASCII"):
        EnumValue("é")


def test_real_keeps_its_bits() -> None:
    nan = struct.pack(">d", float("nan"))
    assert broker_bin.encode(broker_bin.decode(b"\x04" + nan)) == b"\x04" + nan
