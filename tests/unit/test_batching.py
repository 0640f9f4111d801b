"""Batches by size or deadline, strain, and what is shed: with a clock that is passed in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mtc_sensor.batching import Batcher
from mtc_sensor.config import BatchConfig, OverloadConfig
from mtc_sensor.flow import Kind
from mtc_sensor.wire.records import Records, StreamId
from tests.unit.wire.build import columns

TEMPLATE = columns(1)


def sample(*seqs: int, kind: Kind = Kind.EARLY, node: str = "zeek") -> Records:
    rows = TEMPLATE.take([0] * len(seqs))
    return replace(
        rows,
        stream=StreamId("r1", node, 0),
        seq=np.array(seqs, np.uint64),
        kind=np.full(len(seqs), kind, np.uint8),
    )


def filled(count: int, overload: OverloadConfig | None = None, size: int = 3) -> Batcher:
    batcher = Batcher(BatchConfig(size=size, wait_ms=10), overload)
    for seq in range(count):
        batcher.add(sample(seq), 0.0)
    return batcher


def seqs(parts: list[Records]) -> list[int]:
    return [seq for part in parts for seq in part.seq.tolist()]


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
        batcher.add(sample(seq, kind=early), float(seq))
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


def test_what_came_together_is_cut_where_a_batch_ends() -> None:
    batcher = filled(1)
    batcher.add(sample(1, 2, 3, 4), 1.0)
    batch, waited = batcher.take(2.0)
    assert seqs(batch) == [0, 1, 2]
    assert waited.tolist() == [2.0, 1.0, 1.0]
    assert len(batcher) == 2
    assert seqs(batcher.take(2.0)[0]) == [3, 4]
    assert len(batcher) == 0


def test_the_samples_of_a_stream_are_judged_together() -> None:
    batcher = Batcher(BatchConfig(size=9))
    for seq, node in enumerate(("w2", "w1", "w2", "w1")):
        batcher.add(sample(seq, node=node), float(seq))
    batch, waited = batcher.take(4.0)
    assert [(part.stream.node, part.seq.tolist()) for part in batch] == [
        ("w1", [1, 3]), ("w2", [0, 2]),
    ]  # fmt: skip
    assert waited.tolist() == [3.0, 1.0, 4.0, 2.0]


def test_shedding_cuts_what_came_together() -> None:
    overload = OverloadConfig(skip_at=1, shed_at=3, policy="newest")
    batcher = Batcher(BatchConfig(size=9), overload)
    batcher.add(sample(1, 2), 0.0)
    batcher.add(sample(3, 4, 5), 1.0)
    assert seqs(batcher.shed()) == [4, 5]
    assert len(batcher) == 3
    assert seqs(batcher.take(1.0)[0]) == [1, 2, 3]
