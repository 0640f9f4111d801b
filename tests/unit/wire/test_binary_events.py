"""The short cuts of the binary format: the same events and bytes as the long way."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from mtc_sensor.errors import WireError
from mtc_sensor.wire import binary_events, broker_bin, events
from mtc_sensor.wire.events import MtcEvent, Verdict, VerdictBatch
from mtc_sensor.wire.records import Records
from mtc_sensor.wire.sample import Sample, batch_of
from mtc_sensor.wire.values import MAX_COUNT, Port, Proto
from tests.unit.wire.build import assert_equal_records, batch, records_of, sample, samples
from tests.unit.wire.test_events import OTHERS, VERDICT, same
from tests.unit.wire.test_fuzz import as_json, mutate, read_binary, read_json

ALONE = [
    sample(packets=8, heads=8),
    sample(packets=0, heads=0),
    sample(packets=200, heads=1),
    sample(packets=1000, heads=0),
    replace(sample(), orig_h=IPv6Address("2001:db8::1"), resp_h=IPv6Address("ff02::1")),
    replace(sample(), tokens="", head=(b"", b"\0" * 15_000)),
    replace(sample(packets=0, heads=0), tokens=""),
    replace(sample(), orig_p=Port(8, Proto.ICMP), resp_p=Port(0, Proto.ICMP), kind=2),
    replace(sample(), seq=MAX_COUNT, shard=MAX_COUNT, start_us=10**18 - 2**31, link=0xFFFF),
]
SENT = [*([record] for record in ALONE), samples(3), samples(200, packets=1, heads=1)]
SAMPLES = [*map(batch_of, SENT)]
OPINIONS = [
    VERDICT,
    replace(VERDICT, detail="x" * 127),
    replace(VERDICT, detail="x" * 128),
    replace(VERDICT, label="", score=0.0, flags=MAX_COUNT, seq=MAX_COUNT),
]
LONG = replace(VERDICT, detail="x" * 65_535)
VERDICTS = [
    *(VerdictBatch((verdict,)) for verdict in (*OPINIONS, LONG)),
    VerdictBatch(tuple(OPINIONS)),
    VerdictBatch((VERDICT,) * 128),
]


def long_way(event: MtcEvent) -> bytes:
    return broker_bin.encode_event(events.encode(event))


def equal(read: MtcEvent | Records, other: MtcEvent | Records) -> bool:
    if isinstance(read, Records):
        assert isinstance(other, Records)
        assert_equal_records(read, other)
        return True
    assert not isinstance(other, Records)
    return same(read, other)


@pytest.mark.parametrize("event", [*VERDICTS, *OTHERS])
def test_both_ways_write_and_read_the_same(event: MtcEvent) -> None:
    data = binary_events.encode(event)
    assert data == long_way(event)
    assert equal(binary_events.decode(data), event)


@pytest.mark.parametrize("sent", SENT, ids=len)
def test_both_ways_read_samples(sent: list[Sample]) -> None:
    data = binary_events.encode(batch_of(sent))
    assert equal(read_binary(data), records_of(sent))
    assert equal(binary_events.decode(data), records_of(sent))
    assert equal(read_json(as_json(batch_of(sent))), records_of(sent))


def test_what_zeek_sends_takes_the_short_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    data = [long_way(event) for event in SAMPLES]
    data.append((Path(__file__).parents[2] / "data/wire/MTC-sample_batch.bin").read_bytes())
    monkeypatch.delattr(broker_bin, "decode_event")
    for message in data:
        assert isinstance(binary_events.decode(message), Records)


@pytest.mark.parametrize(
    "verdict",
    [
        replace(VERDICT, detail="two\nlines"),
        replace(VERDICT, detail="x" * 65_536),
        replace(VERDICT, node="a/b"),
        replace(VERDICT, kind=3),
        replace(VERDICT, score=float("nan")),
        replace(VERDICT, seq=-1),
        replace(VERDICT, flags=MAX_COUNT + 1),
        replace(VERDICT, uid="C-1"),
    ],
)
def test_what_has_no_place_in_a_verdict_is_refused(verdict: Verdict) -> None:
    with pytest.raises(WireError):
        binary_events.encode(VerdictBatch((VERDICT, verdict)))


def test_mutated_messages_are_read_as_on_the_long_way() -> None:
    rng = random.Random(5)
    some: list[MtcEvent] = [*SAMPLES[:4], batch(3), VERDICTS[-2]]
    originals = [long_way(event) for event in some]
    mutated = [mutate(originals[number % len(originals)], rng) for number in range(5000)]
    assert sum(map(reads_as_on_the_long_way, mutated)) > 200


def reads_as_on_the_long_way(data: bytes) -> bool:
    """Assert that both ways say the same of a message; return whether it is valid."""
    expected, event = outcome(read_binary, data), outcome(binary_events.decode, data)
    if isinstance(expected, str) or isinstance(event, str):
        assert event == expected
        return False
    assert equal(event, expected)
    return True


def outcome(read: Callable[[bytes], MtcEvent | Records], data: bytes) -> MtcEvent | Records | str:
    try:
        return read(data)
    except WireError as error:
        return str(error)


def test_samples_can_be_changed_in_place() -> None:
    read = binary_events.decode(long_way(SAMPLES[0]))
    assert isinstance(read, Records)
    assert read.samples.flags.writeable
