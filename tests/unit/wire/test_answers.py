"""Verdicts as columns are the same verdicts, and the same bytes."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtc_sensor.errors import WireError
from mtc_sensor.wire import binary_events, broker_bin, events
from mtc_sensor.wire.answers import Answers
from mtc_sensor.wire.events import Verdict, VerdictBatch
from mtc_sensor.wire.sample import Sample
from mtc_sensor.wire.values import MAX_COUNT, MAX_INTEGER, Port, Proto
from tests.unit.wire.build import records_of, sample

V4, V6 = IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1")
SAMPLES = [
    sample(seq=1, packets=1, heads=0),
    replace(
        sample(seq=MAX_COUNT), uid="C" * 24, start_us=MAX_INTEGER, kind=2,
        orig_h=V6, resp_h=IPv6Address("::1"), orig_p=Port(128, Proto.ICMP),
        resp_p=Port(129, Proto.ICMP),
    ),
    replace(sample(seq=3), orig_p=Port(65535, Proto.UDP), resp_p=Port(0, Proto.UDP), orig_h=V4),
]  # fmt: skip
ANSWERS = Answers(
    "s1", records_of(SAMPLES), [0, 2, 1], ["a", "a", "b"], ["benign", "unknown", ""],
    [0.5, 1.0, 0.25], [0, 2, 1], ["", "x" * 127, "x" * 128],
)  # fmt: skip


def test_answers_are_verdicts() -> None:
    first, second, third = ANSWERS
    assert len(ANSWERS) == 3
    assert first == of(SAMPLES[0], "a", "benign", 0.5, 0, "")
    assert second == of(SAMPLES[2], "a", "unknown", 1.0, 2, "x" * 127)
    assert third == of(SAMPLES[1], "b", "", 0.25, 1, "x" * 128)
    assert ANSWERS[-1] == third
    assert list(ANSWERS[1:]) == [second, third]


def of(asked: Sample, *said: str | float) -> Verdict:
    names = ("run", "node", "shard", "seq", "uid", "kind")
    identity = [getattr(asked, name) for name in names]
    return Verdict("s1", *identity, *said)


def both_ways(answers: Answers) -> tuple[bytes, bytes]:
    long_way = broker_bin.encode_event(events.encode(VerdictBatch(tuple(answers))))
    return binary_events.encode(VerdictBatch(answers)), long_way


texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=300)


@given(
    st.lists(
        st.tuples(
            st.integers(0, len(SAMPLES) - 1), st.sampled_from(["byte-cnn", "m" * 128]), texts,
            st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 3), texts,
        ),
        min_size=1, max_size=140,
    )
)  # fmt: skip
def test_they_are_written_as_verdicts_are(
    rows: list[tuple[int, str, str, float, int, str]],
) -> None:
    columns = map(list, zip(*rows, strict=True))
    short, long = both_ways(Answers("s1", ANSWERS.records, *columns))
    assert short == long


def test_they_take_the_short_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(broker_bin, "encode_event")
    assert binary_events.encode(VerdictBatch(ANSWERS)).endswith(b"\x05\x80\x01" + b"x" * 128)


def test_what_is_too_long_for_it_goes_the_long_way() -> None:
    short, long = both_ways(replace(ANSWERS, detail=["x" * 65_535] * 3))
    assert short == long


@pytest.mark.parametrize(
    "changed",
    [
        {"detail": ["two\nlines"] * 3},
        {"detail": ["x" * 65_536] * 3},
        {"label": ["\x7f"] * 3},
        {"model": ["a/b"] * 3},
        {"score": [float("nan")] * 3},
        {"flags": [-1] * 3},
        {"flags": [MAX_COUNT + 1] * 3},
        {"sensor": ""},
    ],
)
def test_what_has_no_place_in_a_verdict_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(WireError):
        binary_events.encode(VerdictBatch(replace(ANSWERS, **changed)))  # type: ignore[arg-type]
