"""What the two training modules decide, on made-up scores."""

from dataclasses import replace

import numpy as np

from mtc_sensor.flow import FlowBatch
from mtc_sensor.training import byte_cnn, categories, flowpic, malware
from mtc_sensor.training.manifest import Source
from mtc_sensor.training.tasks import Labelled


def task(splits: list[str], sets: list[str], labels: list[int]) -> Labelled:
    """One flow per source."""
    sources = tuple(
        Source(f"{i}", "", set_, split=split)
        for i, (split, set_) in enumerate(zip(splits, sets, strict=True))
    )
    flows = replace(FlowBatch.empty(), uid=np.zeros(len(labels), "S24"))
    return Labelled(flows, np.array(labels), np.arange(len(labels)), sources)


def test_no_matrix_is_on_both_sides() -> None:
    made = task(["train"] * 3 + ["val"] * 3, ["benign"] * 6, [0] * 6)
    inputs = np.array([1, 2, 1, 2, 3, 3], np.uint8).reshape(6, 1, 1)
    training = made.of(lambda source: source.split) == "train"
    train, val = malware.split(made, inputs, training, ~training)
    assert (train.tolist(), val.tolist()) == ([0, 1], [4])


def test_figures_are_per_flow_and_per_capture() -> None:
    made = task(
        ["val"] * 5, ["malware", "malware", "benign", "benign", "iscx-vpn"], [1, 2, 0, 0, 0]
    )
    probabilities = np.zeros((5, len(malware.LABELS)))
    probabilities[:, 0] = [0.05, 0.5, 0.9, 0.8, 0.02]
    probabilities[:, 1] = 1 - probabilities[:, 0]
    scores = byte_cnn.validation_scores(made, np.arange(5), probabilities, 0.9)
    assert scores["auroc"] == 1
    assert scores["flows-detected"] == scores["captures-detected"] == 0.5
    assert scores["false-alarms-captures"] == 0
    assert scores["false-alarms-all"] == 0.3333
    assert scores["family-accuracy"] == 0.5


def test_a_bound_weighs_sets_the_same() -> None:
    best = np.array([0.99, 0.98, 0.97, 0.96, 0.95, 0.9])
    probabilities = np.stack([best, 1 - best], axis=1)
    sets = np.array(["large"] * 5 + ["small"])
    assert flowpic.sure_enough(probabilities, np.zeros(6, np.int64), sets) == 0.9
    wrong_small = np.array([0, 0, 0, 0, 0, 1])
    assert flowpic.sure_enough(probabilities, wrong_small, sets) == 0.95


def test_references_hold_no_traffic() -> None:
    assert byte_cnn._reference().shape == (16, 8, 80)
    assert flowpic._reference().shape == (16, *categories.SPEC.shape)
