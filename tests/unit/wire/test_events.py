from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any, get_args

import numpy as np
import pytest

from mtc_sensor.errors import WireError
from mtc_sensor.wire import broker_bin, broker_json, events, topics
from mtc_sensor.wire.envelope import ZeekEvent
from mtc_sensor.wire.events import (
    ExporterDrained,
    ExporterStatus,
    Grant,
    MtcEvent,
    Resend,
    Sample,
    SensorHello,
    Verdict,
)
from mtc_sensor.wire.values import Port, Proto, Value
from tests.unit.wire.build import sample

V4, V6 = IPv4Address("10.0.0.1"), IPv6Address("2001:db8::1")
SAMPLE = sample(packets=2, heads=1)
VERDICT = Verdict(
    sensor="s1", run="6f1c", node="worker-1", shard=0, seq=7, uid="C1", orig_h=V6,
    orig_p=Port(128, Proto.ICMP), resp_h=V6, resp_p=Port(129, Proto.ICMP), start_us=1, kind=2,
    model="byte-cnn", label="Zeus", score=0.5, flags=1, detail="",
)  # fmt: skip
OTHERS: list[MtcEvent] = [
    VERDICT,
    SensorHello("s1", np.array([0, 1], np.uint64)),
    SensorHello("s1", np.empty(0, np.uint64)),
    Grant("s1", "6f1c", "zeek", 0, 41, 200),
    Resend("s1", "6f1c", "zeek", 0, 42, 2**64 - 1),
    ExporterStatus("6f1c", "zeek", 0, 1, 41, 0),
    ExporterDrained("6f1c", "zeek", 0, 41),
]


def over_binary(message: ZeekEvent) -> ZeekEvent:
    return broker_bin.decode_event(broker_bin.encode_event(message))


def over_json(message: ZeekEvent) -> ZeekEvent:
    return ZeekEvent.from_value(broker_json.decode(broker_json.encode(message.to_value())))


def same(left: MtcEvent, right: MtcEvent) -> bool:
    return type(left) is type(right) and all(
        np.array_equal(getattr(left, item.name), getattr(right, item.name))
        and type(getattr(left, item.name)) is type(getattr(right, item.name))
        for item in fields(left)
    )


@pytest.mark.parametrize("carry", [over_binary, over_json])
@pytest.mark.parametrize(
    "event", [SAMPLE, sample(packets=0, heads=0), *OTHERS], ids=lambda e: e.event
)
def test_round_trip(event: MtcEvent, carry: Callable[[ZeekEvent], ZeekEvent]) -> None:
    assert same(events.decode(carry(events.encode(event))), event)


def test_every_event_is_tried() -> None:
    assert {type(event) for event in [SAMPLE, *OTHERS]} == set(get_args(MtcEvent))


def test_a_grant_on_the_wire() -> None:
    message = ZeekEvent("MTC::grant", (1, b"s1", b"6f1c", b"zeek", 0, 41, 200))
    assert events.encode(Grant("s1", "6f1c", "zeek", 0, 41, 200)) == message
    assert events.decode(message) == Grant("s1", "6f1c", "zeek", 0, 41, 200)


def test_a_sample_on_the_wire() -> None:
    event = replace(SAMPLE, samples=np.array([5], np.uint64), head=(b"\x00\xff~",), tokens="a b")
    message = events.encode(event)
    assert message.name == "MTC::sample"
    assert message.args[:12] == (
        1, b"6f1c", b"worker-1", 0, 1, 0, b"CHhAvVGS1DHFjwGM9", IPv4Address("10.0.0.1"),
        Port(49152, Proto.TCP), IPv4Address("192.0.2.7"), Port(443, Proto.TCP),
        1_700_000_000_123_456,
    )  # fmt: skip
    assert message.args[13:] == (1, (b"AP9+",), b"a b")


def wrong(event: MtcEvent, **changed: Value) -> ZeekEvent:
    """Return the event with one argument of any type put in its place."""
    args = list(events.encode(event).args)
    names = ["version", *(item.name for item in fields(event))]
    for key, value in changed.items():
        args[names.index(key)] = value
    return ZeekEvent(event.event, tuple(args))


@pytest.mark.parametrize(
    ("event", "changed", "message"),
    [
        (SAMPLE, {"version": 2}, "MTC::sample: not version 1"),
        (SAMPLE, {"version": True}, "not version 1"),
        (SAMPLE, {"run": b""}, "MTC::sample: run: bytes b'' is no name"),
        (SAMPLE, {"node": b"a/b"}, "node: bytes b'a/b' is no name"),
        (SAMPLE, {"node": b"n" * 129}, "is no name"),
        (SAMPLE, {"node": 5}, "node: int 5 is no name"),
        (SAMPLE, {"seq": 1.0}, "seq: float 1.0 is no count"),
        (SAMPLE, {"seq": True}, "seq: bool True is no count"),
        (SAMPLE, {"kind": 3}, "kind: int 3 is no count in 0..2"),
        (SAMPLE, {"uid": b"C" * 25}, "is no uid"),
        (SAMPLE, {"orig_h": b"10.0.0.1"}, "orig_h: bytes b'10.0.0.1' is no address"),
        (SAMPLE, {"orig_h": V6}, "addresses are of different families"),
        (SAMPLE, {"orig_p": 80}, "orig_p: int 80 is no port"),
        (SAMPLE, {"orig_p": Port(80, Proto.UNKNOWN)}, "is no port of TCP"),
        (SAMPLE, {"orig_p": Port(80, Proto.UDP)}, "ports are of different protocols"),
        (SAMPLE, {"start_us": 2**63}, "start_us: int 9223372036854775808 is no count in"),
        (SAMPLE, {"samples": (1, 2.0)}, "samples: tuple (1, 2.0) is no vector of counts"),
        (SAMPLE, {"samples": 7}, "is no vector of counts"),
        (SAMPLE, {"link": 65536}, "is no count in 0..65535"),
        (SAMPLE, {"head": b"AP9+"}, "is no vector of strings"),
        (SAMPLE, {"head": (b"AP9+",) * 9}, "9 packet heads are more than 8"),
        (SAMPLE, {"head": (7,)}, "int 7 is no base64 string"),
        (SAMPLE, {"head": np.array([7], np.uint64)}, "int 7 is no base64 string"),
        (SAMPLE, {"head": (b"AP9",)}, "not base64"),
        (SAMPLE, {"head": (b"AP\n9+",)}, "not base64"),
        (SAMPLE, {"head": (b"A" * 87384,)}, "each of 65535 bytes"),
        (SAMPLE, {"tokens": b"a\n"}, "tokens: bytes b'a\\n' is no printable ASCII"),
        (SAMPLE, {"tokens": b"\xff"}, "is no printable ASCII"),
        (SAMPLE, {"tokens": b"a" * 65536}, "is no printable ASCII"),
        (VERDICT, {"score": 1}, "score: int 1 is no finite real"),
        (VERDICT, {"score": float("nan")}, "score: float nan is no finite real"),
    ],
)
def test_a_wrong_argument_is_refused(
    event: MtcEvent, changed: dict[str, Value], message: str
) -> None:
    with pytest.raises(WireError, match=re.escape(message)):
        events.decode(wrong(event, **changed))


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (ZeekEvent("MTC::other", (1,)), "unknown event 'MTC::other'"),
        (ZeekEvent("MTC::grant", ()), "not version 1"),
        (ZeekEvent("MTC::grant", (1,)), "1 arguments, not 7"),
        (ZeekEvent("MTC::grant", (1,) * 8), "8 arguments, not 7"),
    ],
)
def test_a_wrong_message_is_refused(message: ZeekEvent, complaint: str) -> None:
    with pytest.raises(WireError, match=re.escape(complaint)):
        events.decode(message)


@pytest.mark.parametrize(
    "changed",
    [{"label": "Zeüs"}, {"label": "\ud800"}, {"node": "a/"}, {"score": np.inf}, {"seq": -1}],
)
def test_what_must_not_be_sent_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(WireError, match=f"MTC::verdict: {next(iter(changed))}"):
        events.encode(replace(VERDICT, **changed))


def test_topics_end_where_they_should() -> None:
    assert topics.samples_of(1) == "/zeek/mtc/sample/1/"
    assert topics.verdicts_for("worker-1") == "/zeek/mtc/verdict/worker-1/"
    assert topics.exporter("worker-1") == "/zeek/mtc/exporter/worker-1/"
    assert not topics.verdicts_for("worker-10").startswith(topics.verdicts_for("worker-1"))
    assert not topics.TO_EXPORTERS.startswith("/zeek/mtc/exporter/")


def test_the_sample_type_is_what_flow_wants() -> None:
    decoded = events.decode(over_binary(events.encode(SAMPLE)))
    assert isinstance(decoded, Sample)
    assert decoded.samples.dtype == np.uint64
    assert decoded.samples.shape == (2,)
    assert decoded.samples.flags.c_contiguous
