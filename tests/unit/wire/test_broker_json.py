from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtc_sensor.errors import WireError
from mtc_sensor.wire import broker_bin, broker_json
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
from tests.unit.wire.build import canonical, json_values


def tagged(tag: str, data: str) -> str:
    return f'{{"@data-type":"{tag}","data":{data}}}'


def vector(*items: str) -> str:
    return tagged("vector", f"[{','.join(items)}]")


A, ONE = tagged("string", '"a"'), tagged("count", "1")

# By hand from Broker's format/json.hh and doc/web-socket.rst.
LITERALS: list[tuple[str, Value]] = [
    (tagged("none", "{}"), None),
    (tagged("boolean", "true"), True),
    (tagged("boolean", "false"), False),
    (tagged("count", "123"), 123),
    (tagged("count", "18446744073709551615"), 2**64 - 1),
    (tagged("integer", "-7"), Integer(-7)),
    (tagged("real", "-7.5"), -7.5),
    (tagged("real", "1.0"), 1.0),
    (tagged("string", '"Hello World!"'), b"Hello World!"),
    (tagged("string", '"\\"\\\\\\n"'), b'"\\\n'),
    (tagged("string", '"é"'), "é".encode()),
    (tagged("address", '"192.168.99.9"'), IPv4Address("192.168.99.9")),
    (tagged("address", '"2001:db8::"'), IPv6Address("2001:db8::")),
    (tagged("subnet", '"255.255.255.0/24"'), IPv4Network("255.255.255.0/24")),
    (tagged("subnet", '"2001:db8::/32"'), IPv6Network("2001:db8::/32")),
    (tagged("port", '"8080/tcp"'), Port(8080, Proto.TCP)),
    (tagged("port", '"53/udp"'), Port(53, Proto.UDP)),
    (tagged("port", '"8/icmp"'), Port(8, Proto.ICMP)),
    (tagged("port", '"0/?"'), Port(0, Proto.UNKNOWN)),
    (tagged("timestamp", '"1970-01-01T00:00:00.000"'), Timestamp(0)),
    (tagged("timestamp", '"2022-04-10T07:00:00.125"'), Timestamp(1_649_574_000_125_000_000)),
    (tagged("timestamp", '"1969-12-31T23:59:59.999999999"'), Timestamp(-1)),
    (tagged("timespan", '"0s"'), Timespan(0)),
    (tagged("timespan", '"1500ms"'), Timespan(1_500_000_000)),
    (tagged("timespan", '"-3us"'), Timespan(-3000)),
    (tagged("timespan", '"7s"'), Timespan(7_000_000_000)),
    (tagged("timespan", '"1ns"'), Timespan(1)),
    (tagged("enum-value", '"foo"'), EnumValue("foo")),
    (tagged("set", "[]"), Set()),
    (tagged("set", f"[{A},{ONE}]"), Set((b"a", 1))),
    (tagged("table", "[]"), Table()),
    (tagged("table", f'[{{"key":{A},"value":{ONE}}}]'), Table(((b"a", 1),))),
    (tagged("vector", "[]"), ()),
    (tagged("vector", f"[{A},{ONE}]"), (b"a", 1)),
]


@pytest.mark.parametrize(("text", "value"), LITERALS)
def test_literal_text_of_every_type(text: str, value: Value) -> None:
    assert broker_json.encode(value) == text
    assert canonical(broker_json.decode(text)) == canonical(value)


def test_zeeks_own_example_of_an_event() -> None:
    # The text that Zeek's cluster/serializer/broker/Serializer.cc expects in its own test.
    stamp = tagged("timestamp", '"1970-01-01T00:00:00.000"')
    metadata = vector(vector(ONE, stamp))
    args = vector(tagged("string", '"TEST"'), tagged("count", "42"))
    name = tagged("string", '"Supervisor::node_status"')
    text = vector(ONE, ONE, vector(name, args, metadata))
    event = ZeekEvent("Supervisor::node_status", (b"TEST", 42), Timestamp(0))
    assert broker_json.encode(event.to_value()) == text
    assert ZeekEvent.from_value(broker_json.decode(text)) == event


def test_a_vector_of_counts_is_an_array() -> None:
    text = tagged("vector", f"[{ONE},{tagged('count', str(2**64 - 1))}]")
    value = broker_json.decode(text)
    assert isinstance(value, np.ndarray)
    assert value.dtype == np.uint64
    assert value.tolist() == [1, 2**64 - 1]
    assert broker_json.encode(value) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # Zeek writes control characters as they are, and \v, which JSON does not know.
        (tagged("string", '"\x00\x1f\x7f"'), b"\x00\x1f\x7f"),
        (tagged("string", r'"\v\\v\\\v"'), b"\x0b\\v\\\x0b"),
        (tagged("real", "0.330000"), 0.33),
        (tagged("timestamp", '"2022-04-10T07:00:00Z"'), Timestamp(1_649_574_000_000_000_000)),
        (tagged("timespan", '"2min"'), Timespan(120_000_000_000)),
        (tagged("timespan", '"1h"'), Timespan(3_600_000_000_000)),
        (tagged("address", '"::ffff:192.0.2.1"'), IPv4Address("192.0.2.1")),
        ('{"data":1,"more":[],"@data-type":"count"}', 1),
    ],
)
def test_what_zeek_may_also_write(text: str, value: Value) -> None:
    assert canonical(broker_json.decode(text)) == canonical(value)


@pytest.mark.parametrize("value", [1e-5, 5e-324, 1e22, 1.7976931348623157e308, -0.0, 0.1])
def test_a_real_is_never_taken_for_an_integer(value: float) -> None:
    text = broker_json.encode(value)
    assert "." in text or "e" in text.removeprefix('{"@data-type":"real","data":')
    assert canonical(broker_json.decode(text)) == canonical(value)


@given(json_values)
def test_round_trip(value: Value) -> None:
    assert canonical(broker_json.decode(broker_json.encode(value))) == canonical(value)


@given(json_values)
def test_both_formats_carry_the_same_value(value: Value) -> None:
    from_json = broker_json.decode(broker_json.encode(value))
    from_binary = broker_bin.decode(broker_bin.encode(value))
    assert canonical(from_json) == canonical(from_binary)
    assert broker_bin.encode(from_json) == broker_bin.encode(value)


@given(st.sampled_from(LITERALS), st.text(max_size=5), st.integers(0, 60))
def test_any_text_is_a_value_or_a_wire_error(
    literal: tuple[str, Value], inserted: str, where: int
) -> None:
    try:
        value = broker_json.decode(literal[0][:where] + inserted + literal[0][where:])
    except WireError:
        return
    assert canonical(broker_json.decode(broker_json.encode(value))) == canonical(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "object with '@data-type' wanted, not list"),
        ("{}", "'@data-type' must be str, not NoneType"),
        (tagged("word", "1"), "unknown type 'word'"),
        (tagged("boolean", "1"), "'data' must be bool, not int"),
        (tagged("count", "true"), "'data' must be int, not bool"),
        (tagged("count", "1.0"), "'data' must be int, not float"),
        (tagged("count", "-1"), "count -1 is not in"),
        (tagged("count", "18446744073709551616"), "is not in"),
        (tagged("count", "9" * 5000), "not JSON"),
        (tagged("integer", "9223372036854775808"), "does not fit 64 bits"),
        (tagged("real", "1"), "'data' must be float, not int"),
        (tagged("real", "NaN"), "NaN is not a number"),
        (tagged("real", "-Infinity"), "-Infinity is not a number"),
        (tagged("real", "1e999"), "out of range"),
        (tagged("string", "5"), "'data' must be str, not int"),
        (tagged("string", r'"\ud800"'), "string: .* surrogates"),
        (tagged("address", '"1.2.3"'), "address"),
        (tagged("address", '"fe80::1%eth0"'), "scope"),
        (tagged("subnet", '"10.0.0.0"'), "no prefix length"),
        (tagged("subnet", '"10.0.0.0/255.0.0.0"'), "no prefix length"),
        (tagged("subnet", '"10.0.0.1/8"'), "host bits"),
        (tagged("port", '"80"'), "80/tcp"),
        (tagged("port", '"65536/tcp"'), "not in 0..65535"),
        (tagged("timestamp", '"2022-04-31T00:00:00.000"'), "timestamp"),
        (tagged("timestamp", '"9999-01-01T00:00:00.000"'), "does not fit 64 bits"),
        (tagged("timestamp", '"now"'), "YYYY-MM-DD"),
        (tagged("timespan", '"5"'), "15s"),
        (tagged("timespan", '"9999999999999999999h"'), "does not fit 64 bits"),
        (tagged("enum-value", '"é"'), "not ASCII"),
        (tagged("vector", "{}"), "'data' must be list, not dict"),
        (tagged("vector", "[1]"), "object with '@data-type' wanted"),
        (tagged("vector", f"[{ONE},{tagged('count', '1.5')}]"), "'data' must be int, not float"),
        (tagged("vector", f"[{tagged('count', '-1')}]"), "count -1 is not in"),
        (tagged("vector", '[{"@data-type":["count"],"data":1}]'), "'@data-type' must be str"),
        (tagged("table", '[{"key":1}]'), "'key' must be dict, not int"),
    ],
)
def test_what_is_malformed_is_refused(text: str, message: str) -> None:
    with pytest.raises(WireError, match=message):
        broker_json.decode(text)


def test_nesting_ends() -> None:
    def nested(depth: int) -> str:
        return '{"@data-type":"vector","data":[' * depth + tagged("none", "{}") + "]}" * depth

    broker_json.decode(nested(MAX_DEPTH))
    with pytest.raises(WireError, match="nested deeper"):
        broker_json.decode(nested(MAX_DEPTH + 10))
    with pytest.raises(WireError, match="nested too deep"):
        broker_json.decode(nested(100_000))


@pytest.mark.parametrize("value", [b"\xff", float("nan"), float("inf"), 2**64, "text"])
def test_what_has_no_place_is_refused(value: Value) -> None:
    with pytest.raises(WireError):
        broker_json.encode(value)
