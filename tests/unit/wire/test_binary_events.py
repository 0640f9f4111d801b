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
from mtc_sensor.wire.events import MtcEvent, SampleBatch, Verdict, VerdictBatch
from mtc_sensor.wire.records import Records
from mtc_sensor.wire.values import MAX_COUNT, MAX_INTEGER, Port, Proto
from tests.unit.wire.build import assert_equal_records, batch, sample
from tests.unit.wire.test_events import OTHERS, VERDICT, same, wrong
from tests.unit.wire.test_fuzz import mutate, read_binary

ALONE = [
    sample(packets=8, heads=8),
    sample(packets=0, heads=0),
    sample(packets=200, heads=1),
    sample(packets=1000, heads=0),
    replace(sample(), orig_h=IPv6Address("2001:db8::1"), resp_h=IPv6Address("ff02::1")),
    replace(sample(), tokens="", head=(b"", b"\0" * 15_000)),
    replace(sample(packets=0, heads=0), tokens=""),
    replace(sample(), orig_p=Port(8, Proto.ICMP), resp_p=Port(0, Proto.ICMP), kind=2),
    replace(sample(), seq=MAX_COUNT, shard=MAX_COUNT, start_us=MAX_INTEGER, link=0xFFFF),
]
SAMPLES = [*(SampleBatch((record,)) for record in ALONE), batch(3), batch(200, packets=1, heads=1)]
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


def equal(read: MtcEvent | Records, event: MtcEvent | Records) -> bool:
    if isinstance(read, Records):
        assert isinstance(event, SampleBatch)
        assert_equal_records(read, Records.of(event.records))
        return True
    assert not isinstance(event, Records)
    return same(read, event)


@pytest.mark.parametrize("event", [*SAMPLES, *VERDICTS, *OTHERS])
def test_both_ways_write_and_read_the_same(event: MtcEvent) -> None:
    data = binary_events.encode(event)
    assert data == long_way(event)
    assert equal(binary_events.decode(data), event)


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


def packets(times: str, counters: str) -> bytes:
    return f'{{"times":[{times}],"counters":[{counters}]}}'.encode()


SOUND = [
    packets("", "0"),
    packets("", "18446744073709551615"),
    packets("0", "7,8"),
    packets("7.5,999999999999.9999999", "1,0,18446744073709551615"),
]
NO_SECONDS = ("-1", "1.", ".5", "01.5", "1e5", "1.5e1", " 1", "1000000000000", "1,", "x", "1;")
NO_COUNTS = (
    *("", "0", "0,", "0,1,", "0,1,2", ",1", "0,01", "0,-1", "0,1.0", "0, 1", "0;1", "[0,1]"),
    *("0,18446744073709551616", "0,20000000000000000000", "0," + "9" * 23),
)
DAMAGED = (
    *(b"", b"{", b'{"times":[', b'{"times":[1', b'{"times":[1.', b'{"times":[1.5', b'{"times":[1]'),
    *(b'{"times":[1],"counters":[', b'{"times":[1],"counters":[0', b'{"times":[1],"counters":[0,1'),
    *(b'{"times":[1],"counters":[0,1]', b'{"times":[1],"counters":[0,1]} ', b"[1]"),
    b'{"counters":[0,1],"times":[1]}',
)


@pytest.mark.parametrize("text", SOUND)
def test_packets_are_read(text: bytes) -> None:
    message = wrong(SAMPLES[0], samples=text)
    assert reads_as_on_the_long_way(broker_bin.encode_event(message))


@pytest.mark.parametrize(
    "text",
    [
        *(packets(times, "0,1") for times in NO_SECONDS),
        *(packets("1.5", counters) for counters in NO_COUNTS),
        *DAMAGED,
    ],
)
def test_what_are_no_packets_is_refused(text: bytes) -> None:
    message = wrong(SAMPLES[0], samples=text)
    assert not reads_as_on_the_long_way(broker_bin.encode_event(message))


def outcome(read: Callable[[bytes], MtcEvent | Records], data: bytes) -> MtcEvent | Records | str:
    try:
        return read(data)
    except WireError as error:
        return str(error)


def test_samples_can_be_changed_in_place() -> None:
    read = binary_events.decode(long_way(SAMPLES[0]))
    assert isinstance(read, Records)
    assert read.samples.flags.writeable
