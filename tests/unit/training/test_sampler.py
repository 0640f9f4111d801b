from collections.abc import Callable

import numpy as np
import pytest
import torch

from mtc_sensor.features.spec import FlowPicSpec, PacketBytesSpec, SizesSpec
from mtc_sensor.flow import FlowBatch, unpack_samples
from mtc_sensor.models.inputs import inputs_of
from mtc_sensor.training.augment_flows import (
    FLOWS,
    change_rtt,
    end_early,
    first_seconds,
    lose_packets,
    lose_words,
    shift_time,
)
from mtc_sensor.training.manifest import Source
from mtc_sensor.training.recipe import Balance
from mtc_sensor.training.sampler import Sampler, one_of_each, sampling_weights
from mtc_sensor.training.tasks import TASKS

from ..features.build import Head, batch_of, packets
from . import labelled as made_up
from .corpus import recipe
from .labelled import labelled

LONG = packets(np.arange(200) * 0.1, np.full(200, 100))
SHORT = packets(np.arange(12) * 0.1, np.full(12, 500))


def flows() -> FlowBatch:
    return batch_of([LONG, SHORT] * 50).with_documents(["a b c d e f g h i j k l"] * 100)


@pytest.mark.parametrize("change", FLOWS.values(), ids=FLOWS.keys())
def test_augmentation_changes_its_share_and_leaves_the_input(
    change: Callable[[FlowBatch, np.random.Generator, float], FlowBatch],
) -> None:
    batch = flows()
    before = batch.samples.copy()
    changed = change(batch, np.random.default_rng(1), 0.5)
    assert np.array_equal(batch.samples, before)
    assert len(changed) == 100
    assert (changed.packets >= 10).all()
    again = change(batch, np.random.default_rng(1), 0.5)
    assert np.array_equal(changed.samples, again.samples)
    same = sum(
        np.array_equal(changed.take([row]).samples, batch.take([row]).samples)
        and changed.documents()[row] == batch.documents()[row]
        for row in range(100)
    )
    assert 30 < same < 90
    assert len(change(FlowBatch.empty(), np.random.default_rng(1), 0.5)) == 0


def test_what_augmentation_does() -> None:
    rng = np.random.default_rng(1)
    ends = unpack_samples(change_rtt(flows(), rng, 1.0).samples).offset_us.reshape(50, -1)[:, 199]
    assert 0.5 * 19.9e6 <= ends.min() < 0.6 * 19.9e6
    assert 1.4 * 19.9e6 < ends.max() <= 1.5 * 19.9e6
    shifted = unpack_samples(shift_time(flows(), rng, 1.0).samples).offset_us[:200]
    assert np.allclose(np.diff(shifted), 1e5)
    assert 0 < shifted[0] < 1e6
    assert 190 <= lose_packets(flows(), rng, 1.0).packets[0] < 200
    ended = end_early(flows(), rng, 1.0).packets[::2]
    assert np.median(ended) < 60
    assert ended.max() > 100
    words = [len(d.split()) for d in lose_words(flows(), rng, 1.0).documents()]
    assert 10 < np.mean(words) < 11.5


def test_one_input_of_each_record_is_drawn() -> None:
    rows = np.array([0, 0, 0, 2, 3, 3])
    seen = set()
    for seed in range(50):
        which, some = one_of_each(rows, 5, np.random.default_rng(seed))
        assert some.tolist() == [0, 2, 3]
        assert rows[which].tolist() == [0, 2, 3]
        seen.update(which.tolist())
    assert seen == set(range(6))


def test_inputs_taken_are_those_of_their_records() -> None:
    head = [Head(bytes([0x45, n, 0, 0]) + bytes(36), 20) for n in range(4)]
    batch = batch_of([LONG, SHORT], heads=[head[:3], head[3:]])
    pictures = inputs_of(batch, FlowPicSpec(window_s=5.0, size="ip"))
    assert pictures.rows.tolist() == [0, 0, 0, 0, 1]
    assert pictures.take(np.array([4, 1, 1])).flatten(1).sum(1).tolist() == [12, 50, 50]
    taken = inputs_of(batch, PacketBytesSpec(bytes=40)).take(np.array([3, 0]))
    assert taken[:, 1].tolist() == [3, 0]
    assert inputs_of(batch, SizesSpec()).one_each


def test_a_sampler_draws_by_weight_and_seed() -> None:
    batch = batch_of([LONG, SHORT, SHORT])
    made = labelled([0, 1, 1], [0, 0, 0], [Source("a", "x")], batch)
    sampler = Sampler(made, np.array([1.0, 0, 1]), SizesSpec(), recipe(input={"kind": "sizes"}))
    inputs, label = sampler.draw(np.random.default_rng(1), 1000)
    assert inputs.shape == (1000, 10, 2)
    assert 400 < int((label == 0).sum()) < 600
    long = inputs[:, 0, 0] * 1500 < 200
    assert torch.equal(long, label == 0)
    again = sampler.draw(np.random.default_rng(1), 1000)
    assert torch.equal(again[0], inputs)


def test_classes_weigh_the_same_and_groups_as_the_root_of_their_size() -> None:
    sources = [
        Source("a", "benign"), Source("b", "benign"),
        Source("c", "malware", family="worm"), Source("d", "malware", family="worm"),
    ]  # fmt: skip
    made = labelled([0] * 5 + [1] * 2, [0, 0, 0, 0, 1, 2, 3], sources)
    weights = sampling_weights(made, TASKS["malicious"], Balance())
    assert np.isclose(weights[:5].sum(), weights[5:].sum())
    assert np.isclose(weights[:4].sum(), 2 * weights[4])
    plain = sampling_weights(made, TASKS["malicious"], Balance(classes="none", groups="none"))
    assert (plain == 1).all()
    path = sampling_weights(made, TASKS["malicious"], Balance(classes="none", groups="path"))
    assert np.isclose(path[5], path[4])
    none = Balance(classes="none", groups="none", sets={"other": 0.3})
    mixed = labelled([0, 0], [0, 1], [Source("a", "benign", set="other"), Source("b", "benign")])
    assert sampling_weights(mixed, TASKS["malicious"], none).tolist() == [0.3, 1]


def test_the_first_seconds_of_records() -> None:
    batch = made_up.flows([[60, 61, 62, 63], [70]])
    early = first_seconds(batch, 2)
    assert early.packets.tolist() == [3, 1]
    assert unpack_samples(early.samples).ip_len.tolist() == [60, 61, 62, 70]
    assert (early.last_us() - early.start_us).tolist() == [2_000_000, 0]
