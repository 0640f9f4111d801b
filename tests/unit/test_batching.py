"""Batches by size or deadline, strain, and what is shed: with a clock that is passed in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mtc_sensor.batching import Batcher
from mtc_sensor.config import BatchConfig, OverloadConfig
from mtc_sensor.flow import Kind
from mtc_sensor.wire.events import Sample
from tests.unit.wire.build import sample as build

TEMPLATE = build(packets=1, heads=0)


def sample(seq: int, kind: Kind = Kind.EARLY) -> Sample:
    return replace(TEMPLATE, seq=seq, kind=int(kind))


def filled(count: int, overload: OverloadConfig | None = None, size: int = 3) -> Batcher:
    batcher = Batcher(BatchConfig(size=size, wait_ms=10), overload)
    for seq in range(count):
        batcher.add(sample(seq), 0.0)
    return batcher


def seqs(samples: list[Sample]) -> list[int]:
    return [one.seq for one in samples]


def test_nothing_is_due_where_nothing_waits() -> None:
    assert filled(0).due_in(5.0) is None


def test_a_batch_is_due_when_the_oldest_has_waited() -> None:
    batcher = filled(1)
    batcher.add(sample(1), 0.008)
    assert batcher.due_in(0.004) == pytest.approx(0.006)
    assert batcher.due_in(0.010) == 0
    assert batcher.due_in(99.0) == 0
    batch, waited = batcher.take(0.010)
    assert seqs(batch) == [0, 1]
    assert waited.tolist() == pytest.approx([0.010, 0.002])
    assert batcher.due_in(99.0) is None


def test_a_batch_is_due_when_it_is_full_and_the_rest_waits_on() -> None:
    batcher = filled(4)
    assert batcher.due_in(0.0) == 0
    assert seqs(batcher.take(0.0)[0]) == [0, 1, 2]
    assert batcher.due_in(0.001) == pytest.approx(0.009)
    assert len(batcher) == 1


def test_strain_goes_from_the_first_mark_to_the_second() -> None:
    overload = OverloadConfig(skip_at=2, shed_at=5)
    strain = [filled(count, overload).strain for count in range(8)]
    assert strain == [0, 0, 0.25, 0.5, 0.75, 1, 1, 1]
    assert filled(400).strain == 0


@pytest.mark.parametrize(
    ("policy", "kept", "gone"),
    [
        ("newest", [0, 1, 2], [3, 4, 5]),
        ("oldest", [3, 4, 5], [0, 1, 2]),
        ("early-first", [1, 4, 5], [0, 2, 3]),
    ],
)
def test_what_is_too_much_is_shed_by_the_policy(
    policy: str, kept: list[int], gone: list[int]
) -> None:
    overload = OverloadConfig.model_validate({"skip_at": 1, "shed_at": 3, "policy": policy})
    batcher = Batcher(BatchConfig(size=9), overload)
    for seq in range(6):
        early = Kind.EARLY if seq in (1, 4) else Kind.FINAL
        batcher.add(sample(seq, early), float(seq))
    assert seqs(batcher.shed()) == gone
    assert batcher.shed() == []
    batch, waited = batcher.take(10.0)
    assert seqs(batch) == kept
    assert waited.tolist() == [10.0 - seq for seq in kept]


def test_what_is_left_after_shedding_fills_a_batch() -> None:
    batcher = Batcher(BatchConfig(size=9), OverloadConfig(skip_at=1, shed_at=3))
    for now in range(5):  # the oldest are shed, so none of them waits for long
        batcher.add(sample(now), now / 1000)
        batcher.shed()
    assert batcher.due_in(0.004) == 0


def test_without_marks_nothing_is_shed() -> None:
    assert filled(4000).shed() == []
