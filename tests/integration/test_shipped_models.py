"""The shipped models on the labelled captures that they were not trained on."""

from pathlib import Path

import numpy as np
import pytest
from mtc_sensor.training.evaluate import auroc

from mtc_sensor.inference import Model, load_models
from mtc_sensor.training import categories, malware
from mtc_sensor.training.manifest import read_manifest
from mtc_sensor.training.tasks import Labelled

pytestmark = pytest.mark.data


def shipped(name: str, data: Path) -> Model:
    model = load_models([name], "cpu")[0]
    if model.bundle.config.data.manifest_sha256 != read_manifest(data).sha256:
        pytest.skip("the data is not what the model's card is about")
    return model


def validation(task: Labelled) -> Labelled:
    return task.take(task.of(lambda source: source.split) == "val")


def test_the_byte_cnn_tells_malware_and_raises_few_alarms(data: Path) -> None:
    model = shipped("byte-cnn", data)
    task = validation(malware.read_task(data, ("malware", "benign")))
    judged = task.take(model.rows(task.flows))
    malice = 1 - model.predict(judged.flows)[:, malware.BENIGN].astype(np.float64)
    positive = judged.label != malware.BENIGN
    threshold = model.policy.threshold
    assert threshold is not None
    assert auroc(malice, positive) > model.bundle.config.scores["auroc"] - 0.01
    assert (malice[~positive] >= threshold).mean() < 0.01
    assert (malice[positive] >= threshold).mean() > 0.7


def test_flowpic_asserts_little_that_is_wrong(data: Path) -> None:
    model = shipped("flowpic", data)
    task = validation(categories.read_task(data))
    probabilities = model.predict(task.flows)
    sure = probabilities.max(1) >= model.policy.unknown_below
    right = probabilities.argmax(1) == task.label
    assert sure.mean() > 0.3
    assert right[sure].mean() > 0.85
