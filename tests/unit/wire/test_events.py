from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, replace
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
    SampleBatch,
    SensorHello,
    Verdict,
    VerdictBatch,
)
from mtc_sensor.wire.records import Records
from mtc_sensor.wire.sample import Sample, batch_of
from mtc_sensor.wire.values import Value
from tests.unit.wire.build import assert_equal_records, batch, line, records_of, sample, samples

SAMPLE = sample(packets=2, heads=1)
SAMPLES = batch_of([SAMPLE])
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


def same(left: object, right: MtcEvent) -> bool:
    return type(left) is type(right) and all(
        np.array_equal(getattr(left, item.name), getattr(right, item.name))
        and type(getattr(left, item.name)) is type(getattr(right, item.name))
        for item in fields(right)
    )


@pytest.mark.parametrize("carry", [over_binary, over_json])
@pytest.mark.parametrize("event", OTHERS, ids=lambda e: e.event)
def test_round_trip(event: MtcEvent, carry: Callable[[ZeekEvent], ZeekEvent]) -> None:
    assert same(events.decode(carry(events.encode(event))), event)


@pytest.mark.parametrize("carry", [over_binary, over_json])
@pytest.mark.parametrize("sent", [[SAMPLE], samples(40), samples(2, packets=0, heads=0)], ids=len)
def test_samples_become_records(
    sent: list[Sample], carry: Callable[[ZeekEvent], ZeekEvent]
) -> None:
    records = events.decode(carry(events.encode(batch_of(sent))))
    assert isinstance(records, Records)
    assert_equal_records(records, records_of(sent))


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
    message = events.encode(batch_of([first, replace(first, seq=2, uid="C2")]))
    assert message.name == "MTC::sample_batch"
    *shared, records = message.args
    assert shared == [1, b"6f1c", b"worker-1", 0, 1, 1]
    counters = [0, 60 + 8 * 2**34, 60 + 1500 * 2**17 + 8 * 2**34 + 1448 * 2**34]
    times = "1700000000.123456,1700000001.373456"
    packets = f'{{"times":[{times}],"counters":{counters}}}'.replace(" ", "")
    text = f"10.0.0.1|49152/tcp|192.0.2.7|443/tcp|AP9+|{packets}|a b".encode()
    assert records == (b"0|CHhAvVGS1DHFjwGM9|" + text, b"0|C2|" + text)


SHARED = ("version", "sensor", "run", "node", "shard", "verdicts")
REST = [item.name for item in fields(Verdict) if item.name not in SHARED]


def wrong(event: SampleBatch | VerdictBatch, **changed: Value) -> ZeekEvent:
    """Return the event with one argument of any type put in its place, or a field of the last."""
    args = list(events.encode(event).args)
    of_samples = ("version", *(item.name for item in fields(SampleBatch)))
    names = SHARED if isinstance(event, VerdictBatch) else of_samples
    for key, value in changed.items():
        if key in names:
            args[names.index(key)] = value
        else:
            args[-1] = _with(args[-1], REST.index(key), value)
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
        (SAMPLES, {"link": 65536}, "is no count in 0..65535"),
        (SAMPLES, {"records": ()}, "MTC::sample_batch: no records"),
        (SAMPLES, {"records": b"x"}, "sample_batch: records: bytes b'x' is no vector of strings"),
        (SAMPLES, {"records": (line(), 7)}, "records: element 1: int 7 is no string"),
        (SAMPLES, {"records": np.array([7], np.uint64)}, "element 0: int 7 is no string"),
        (SAMPLES, {"records": (line(), b"x")}, "MTC::sample_batch: record 1: 1 parts, not 9"),
        (batch(3), {"seq": 2**64 - 2}, "record 2: its number is more than 18446744073709551615"),
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
        (ZeekEvent("MTC::sample_batch", (1,)), "1 arguments, not 7"),
        (ZeekEvent("MTC::verdict_batch", (1,)), "2 arguments, not 6"),
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
    first, second = samples(2)
    with pytest.raises(WireError, match="record 1 does not go with the first"):
        batch_of([first, replace(second, **changed)])


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
