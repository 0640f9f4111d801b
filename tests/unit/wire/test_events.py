from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any, get_args

import numpy as np
import pytest

from mtc_sensor.errors import WireError
from mtc_sensor.wire import binary_events, broker_bin, broker_json, events, topics
from mtc_sensor.wire.envelope import ZeekEvent
from mtc_sensor.wire.events import (
    ExporterDrained,
    ExporterStatus,
    Grant,
    MtcEvent,
    Resend,
    Sample,
    SampleBatch,
    SensorHello,
    Verdict,
    VerdictBatch,
)
from mtc_sensor.wire.values import Port, Proto, Value
from tests.unit.wire.build import batch, sample

V4, V6 = IPv4Address("10.0.0.1"), IPv6Address("2001:db8::1")
SAMPLE = sample(packets=2, heads=1)
SAMPLES = SampleBatch((SAMPLE,))
VERDICT = Verdict(
    sensor="s1", run="6f1c", node="worker-1", shard=0, seq=7, uid="C1", kind=2,
    model="byte-cnn", label="Zeus", score=0.5, flags=1, detail="",
)  # fmt: skip
VERDICTS = VerdictBatch((VERDICT, replace(VERDICT, seq=6, model="flowpic", detail="x=1")))
OTHERS: list[MtcEvent] = [
    VERDICTS,
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


def same(left: MtcEvent | Sample, right: MtcEvent | Sample) -> bool:
    if isinstance(left, SampleBatch) and isinstance(right, SampleBatch):
        return len(left.records) == len(right.records) and all(
            map(same, left.records, right.records)
        )
    return type(left) is type(right) and all(
        np.array_equal(getattr(left, item.name), getattr(right, item.name))
        and type(getattr(left, item.name)) is type(getattr(right, item.name))
        for item in fields(left)
    )


@pytest.mark.parametrize("carry", [over_binary, over_json])
@pytest.mark.parametrize(
    "event", [SAMPLES, batch(40), batch(2, packets=0, heads=0), *OTHERS], ids=lambda e: e.event
)
def test_round_trip(event: MtcEvent, carry: Callable[[ZeekEvent], ZeekEvent]) -> None:
    assert same(events.decode(carry(events.encode(event))), event)


def test_every_event_is_tried() -> None:
    assert {type(event) for event in [SAMPLES, *OTHERS]} == set(get_args(MtcEvent))


def test_verdicts_on_the_wire() -> None:
    message = events.encode(VERDICTS)
    assert message.name == "MTC::verdict_batch"
    *shared, verdicts = message.args
    assert shared == [1, b"s1", b"6f1c", b"worker-1", 0]
    assert verdicts == (
        (7, b"C1", 2, b"byte-cnn", b"Zeus", 0.5, 1, b""),
        (6, b"C1", 2, b"flowpic", b"Zeus", 0.5, 1, b"x=1"),
    )


def test_a_grant_on_the_wire() -> None:
    message = ZeekEvent("MTC::grant", (1, b"s1", b"6f1c", b"zeek", 0, 41, 200))
    assert events.encode(Grant("s1", "6f1c", "zeek", 0, 41, 200)) == message
    assert events.decode(message) == Grant("s1", "6f1c", "zeek", 0, 41, 200)


def test_samples_on_the_wire() -> None:
    back = 1_250_000 << 33 | 1 << 32 | 1500 << 16 | 1448
    samples = np.array([60 << 16 | 8, back], np.uint64)
    first = replace(SAMPLE, samples=samples, head=(b"\x00\xff~",), tokens="a b")
    message = events.encode(SampleBatch((first, replace(first, seq=2, uid="C2"))))
    assert message.name == "MTC::sample_batch"
    *shared, records = message.args
    assert shared == [1, b"6f1c", b"worker-1", 0, 1, 1]
    assert isinstance(records, tuple)
    one, other = records
    assert isinstance(one, tuple)
    assert isinstance(other, tuple)
    assert one[:7] == (
        0, b"CHhAvVGS1DHFjwGM9", IPv4Address("10.0.0.1"), Port(49152, Proto.TCP),
        IPv4Address("192.0.2.7"), Port(443, Proto.TCP), 1_700_000_000_123_456,
    )  # fmt: skip
    counters = [0, 60 + 8 * 2**34, 60 + 1500 * 2**17 + 8 * 2**34 + 1448 * 2**34]
    text = f'{{"times":[0.000000,1.250000],"counters":{counters}}}'.replace(" ", "")
    assert one[7:] == (text.encode(), (b"AP9+",), b"a b")
    assert other[:2] == (0, b"C2")


SHARED = {
    SampleBatch: (Sample, ("version", "run", "node", "shard", "seq", "link", "records")),
    VerdictBatch: (Verdict, ("version", "sensor", "run", "node", "shard", "verdicts")),
}


def wrong(event: SampleBatch | VerdictBatch, **changed: Value) -> ZeekEvent:
    """Return the event with one argument of any type put in its place, or a field of the last."""
    args = list(events.encode(event).args)
    element, names = SHARED[type(event)]
    rest = [item.name for item in fields(element) if item.name not in names]
    for key, value in changed.items():
        if key in names:
            args[names.index(key)] = value
        else:
            args[-1] = _with(args[-1], rest.index(key), value)
    return ZeekEvent(event.event, tuple(args))


def _with(records: Value, place: int, value: Value) -> Value:
    assert isinstance(records, tuple)
    *before, last = records
    assert isinstance(last, tuple)
    return (*before, (*last[:place], value, *last[place + 1 :]))


@pytest.mark.parametrize(
    ("event", "changed", "message"),
    [
        (SAMPLES, {"version": 2}, "MTC::sample_batch: not version 1"),
        (SAMPLES, {"version": True}, "not version 1"),
        (SAMPLES, {"run": b""}, "MTC::sample_batch: run: bytes b'' is no name"),
        (SAMPLES, {"node": b"a/b"}, "node: bytes b'a/b' is no name"),
        (SAMPLES, {"node": b"n" * 129}, "is no name"),
        (SAMPLES, {"node": 5}, "node: int 5 is no name"),
        (SAMPLES, {"seq": 1.0}, "seq: float 1.0 is no count"),
        (SAMPLES, {"seq": True}, "seq: bool True is no count"),
        (SAMPLES, {"kind": 3}, "MTC::sample_batch: record 0: kind: int 3 is no count in 0..2"),
        (SAMPLES, {"uid": b"C" * 25}, "is no uid"),
        (SAMPLES, {"orig_h": b"10.0.0.1"}, "orig_h: bytes b'10.0.0.1' is no address"),
        (SAMPLES, {"orig_h": V6}, "record 0: addresses are of different families"),
        (SAMPLES, {"orig_p": 80}, "orig_p: int 80 is no port"),
        (SAMPLES, {"orig_p": Port(80, Proto.UNKNOWN)}, "is no port of TCP"),
        (SAMPLES, {"orig_p": Port(80, Proto.UDP)}, "ports are of different protocols"),
        (SAMPLES, {"start_us": 2**63}, "start_us: int 9223372036854775808 is no count in"),
        (SAMPLES, {"samples": (1, 2)}, "samples: tuple (1, 2) is no string"),
        (SAMPLES, {"samples": b"[1]"}, "samples: bytes b'[1]' has not the packets of a record"),
        (SAMPLES, {"link": 65536}, "is no count in 0..65535"),
        (SAMPLES, {"head": b"AP9+"}, "is no vector of strings"),
        (SAMPLES, {"head": (b"AP9+",) * 9}, "9 packet heads are more than 8"),
        (SAMPLES, {"head": (7,)}, "int 7 is no base64 string"),
        (SAMPLES, {"head": np.array([7], np.uint64)}, "int 7 is no base64 string"),
        (SAMPLES, {"head": (b"AP9",)}, "not base64"),
        (SAMPLES, {"head": (b"AP\n9+",)}, "not base64"),
        (SAMPLES, {"head": (b"A" * 87384,)}, "each of 65535 bytes"),
        (SAMPLES, {"tokens": b"a\n"}, "tokens: bytes b'a\\n' is no printable ASCII"),
        (SAMPLES, {"tokens": b"\xff"}, "is no printable ASCII"),
        (SAMPLES, {"tokens": b"a" * 65536}, "is no printable ASCII"),
        (batch(3), {"uid": b""}, "record 2: uid: bytes b'' is no uid"),
        (batch(3), {"seq": 2**64 - 2}, "record 2: its number is more than 18446744073709551615"),
        (SAMPLES, {"records": ()}, "MTC::sample_batch: no records"),
        (SAMPLES, {"records": b"x"}, "MTC::sample_batch: bytes is no vector of records"),
        (SAMPLES, {"records": (b"x",)}, "record 0: bytes is no record"),
        (SAMPLES, {"records": ((0, b"C1"),)}, "record 0: 2 fields, not 10"),
        (VERDICTS, {"sensor": b""}, "MTC::verdict_batch: sensor: bytes b'' is no name"),
        (VERDICTS, {"score": 1}, "MTC::verdict_batch: verdict 1: score: int 1 is no finite real"),
        (VERDICTS, {"score": float("nan")}, "score: float nan is no finite real"),
        (VERDICTS, {"verdicts": ()}, "MTC::verdict_batch: no verdicts"),
        (VERDICTS, {"verdicts": 3}, "MTC::verdict_batch: int is no vector of verdicts"),
        (VERDICTS, {"verdicts": ((1, b"C1"),)}, "verdict 0: 2 fields, not 8"),
    ],
)
def test_a_wrong_argument_is_refused(
    event: SampleBatch | VerdictBatch, changed: dict[str, Value], message: str
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
        (ZeekEvent("MTC::sample_batch", (1,)), "2 arguments, not 7"),
        (ZeekEvent("MTC::sample_batch", (1,) * 8), "8 arguments, not 7"),
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
    place = "" if "node" in changed else "verdict 0: "
    with pytest.raises(WireError, match=f"MTC::verdict_batch: {place}{next(iter(changed))}"):
        events.encode(VerdictBatch((replace(VERDICT, **changed),)))


@pytest.mark.parametrize("changed", [{"seq": 3}, {"node": "worker-2"}, {"link": 0}, {"shard": 1}])
def test_records_that_do_not_belong_together_are_refused(changed: dict[str, Any]) -> None:
    first, second = batch(2).records
    with pytest.raises(WireError, match="record 1 does not go with the first"):
        events.encode(SampleBatch((first, replace(second, **changed))))


@pytest.mark.parametrize(
    "changed", [{"sensor": "s2"}, {"run": "r2"}, {"node": "worker-2"}, {"shard": 1}]
)
@pytest.mark.parametrize("write", [events.encode, binary_events.encode])
def test_verdicts_that_do_not_belong_together_are_refused(
    changed: dict[str, Any], write: Callable[[MtcEvent], object]
) -> None:
    with pytest.raises(WireError, match="verdict 1 does not go with the first"):
        write(VerdictBatch((VERDICT, replace(VERDICT, **changed))))


def test_topics_end_where_they_should() -> None:
    assert topics.samples_of(1) == "/zeek/mtc/sample/1/"
    assert topics.verdicts_for("worker-1") == "/zeek/mtc/verdict/worker-1/"
    assert topics.exporter("worker-1") == "/zeek/mtc/exporter/worker-1/"
    assert not topics.verdicts_for("worker-10").startswith(topics.verdicts_for("worker-1"))
    assert not topics.TO_EXPORTERS.startswith("/zeek/mtc/exporter/")


def test_the_sample_type_is_what_flow_wants() -> None:
    event = events.decode(over_binary(events.encode(SAMPLES)))
    assert isinstance(event, SampleBatch)
    (decoded,) = event.records
    assert decoded.samples.dtype == np.uint64
    assert decoded.samples.shape == (2,)
    assert decoded.samples.flags.c_contiguous
