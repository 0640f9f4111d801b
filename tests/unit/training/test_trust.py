from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mtc_sensor.inference import Model, judge_records
from mtc_sensor.models.bundle import load_bundle, verify
from mtc_sensor.training.made_up import made_up
from mtc_sensor.training.tasks import Labelled, Task
from mtc_sensor.training.thresholds import AlertBudget
from mtc_sensor.training.trust import calibrate, in_labels_of

from ..models.bundles import make_bundle

BUDGET = AlertBudget(10, 1000)


def labelled(path: Path, count: int = 200, seed: int = 1) -> Labelled:
    """Made-up records of 30 captures with labels that the model's own probabilities draw."""
    model = Model(load_bundle(path), "cpu")
    made = made_up(model, count, seed)
    rng = np.random.default_rng(seed)
    ends = np.cumsum(model.predict(made.flows), axis=1)
    label = np.minimum((rng.random((count, 1)) > ends).sum(axis=1), 2)
    return replace(made, label=label, source=np.arange(count) % 20, sources=made.sources * 20)


def test_a_bundle_is_given_neighbours_calibration_limit_and_threshold(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "m")
    val = labelled(path)
    trust = calibrate(path, made_up(Model(load_bundle(path)), 200, 2).flows, val, BUDGET)
    bundle = load_bundle(path)
    assert bundle.config == trust.config
    assert bundle.neighbours is not None
    assert len(bundle.neighbours.features) == 200
    assert trust.fit is not None
    assert trust.fit.error < 0.1
    policy = bundle.config.policy
    assert policy.budget is not None
    assert policy.budget.negatives == (val.label == 0).sum()
    assert verify(path) < 1e-4
    outputs = Model(bundle).outputs(val.flows)
    assert outputs.novelty is not None
    assert policy.unknown_above is not None
    assert (outputs.novelty > policy.unknown_above).mean() == pytest.approx(0.05, abs=0.011)
    malice = outputs.probabilities[val.label == 0, 1:].sum(axis=1)
    assert (malice >= policy.threshold).mean() <= 0.01


def test_strange_records_are_unknown_unless_malicious(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "m")
    calibrate(path, made_up(Model(load_bundle(path)), 200, 2).flows, labelled(path), BUDGET)
    model = Model(load_bundle(path))
    model.policy = replace(model.policy, unknown_above=0.0, unknown_below=0.0)
    judged = judge_records([model], made_up(model, 50, 3).flows)
    assert (judged.unknown | judged.malicious).all()
    assert not (judged.unknown & judged.malicious).any()
    assert all("novelty=" in detail for detail in judged.detail[judged.unknown].tolist())


def test_benign_records_alone_set_the_threshold_and_nothing_else(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "m")
    val = labelled(path)
    trust = calibrate(path, None, val.take(val.label == 0), BUDGET)
    assert trust.fit is None
    config = load_bundle(path).config
    assert config.calibration is None
    assert config.policy.unknown_above is None
    assert config.policy.threshold != 0.9


def test_calibrating_twice_is_calibrating_once(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "m")
    val, train = labelled(path), made_up(Model(load_bundle(path)), 200, 2).flows
    once = calibrate(path, train, val, BUDGET).config
    assert calibrate(path, train, val, BUDGET).config == once


def test_nothing_to_calibrate_on(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "m")
    with pytest.raises(ValueError, match="no record"):
        calibrate(path, None, labelled(path).take(np.zeros(0, np.int64)), BUDGET)


def test_labels_of_a_task_become_the_models(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "m")
    model, made = Model(load_bundle(path)), labelled(path, 4)
    task = Task("t", ("worm", "web", "zeus"), ("worm", "zeus"), (), lambda _, flows: made.label)
    given = replace(made, label=np.array([0, 1, 2, 1]))
    assert in_labels_of(model, task, given).label.tolist() == [2, 0, 0]
