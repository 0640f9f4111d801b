"""The shipped models on the labelled captures that they were not trained on."""

from pathlib import Path

import numpy as np
import pytest

from mtc_sensor.inference import Model, load_models, settings_for
from mtc_sensor.training.manifest import read_manifest
from mtc_sensor.training.metrics import auroc
from mtc_sensor.training.store import Store
from mtc_sensor.training.tasks import TASKS, Labelled, load
from mtc_sensor.verdict import UNKNOWN

pytestmark = [pytest.mark.data, pytest.mark.slow]


def judged(name: str, task: str, sets: set[str], data: Path, store: Path) -> tuple[Model, Labelled]:
    """A shipped model and the validation records that it judges."""
    model = load_models([name], "cpu")[0]
    manifest = read_manifest(data, sets)
    if model.bundle.config.data.manifest_sha256 != manifest.sha256:
        pytest.skip("the data is not what the model's card is about")
    known = [source for source in manifest.sources if source.split == "val"]
    manifest = type(manifest)(manifest.root, tuple(known), manifest.sha256)
    labelled = load(TASKS[task], manifest, Store(store, settings_for([model])))
    return model, labelled.take(model.rows(labelled.flows))


@pytest.mark.parametrize("name", ["byte-cnn", "malware"])
def test_malware_is_told_and_few_alarms_are_raised(name: str, data: Path, tmp_path: Path) -> None:
    model, task = judged(name, "malicious", {"malware", "benign"}, data, tmp_path)
    probabilities = model.predict(task.flows).astype(np.float64)
    malice = probabilities[:, model.policy.is_malicious].sum(axis=1)
    positive = task.label == 1
    threshold = model.policy.threshold
    assert threshold is not None
    assert auroc(malice, positive) > 0.98
    assert (malice[~positive] >= threshold).mean() < 0.01
    assert (malice[positive] >= threshold).mean() > 0.5


def test_flowpic_tells_its_services(data: Path, tmp_path: Path) -> None:
    model, task = judged("flowpic", "ucdavis", {"ucdavis-quic"}, data, tmp_path)
    said = np.array(model.judge(task.flows).label)
    truth = np.array(TASKS["ucdavis"].labels)[task.label]
    asserted = said != UNKNOWN
    assert asserted.mean() > 0.9
    assert (said == truth)[asserted].mean() > 0.99


def test_flowpic_asserts_next_to_nothing_of_other_traffic(data: Path, tmp_path: Path) -> None:
    model, task = judged("flowpic", "malicious", {"benign", "malware"}, data, tmp_path)
    verdicts = model.judge(task.flows)
    assert len(verdicts) > 500
    assert (~verdicts.unknown).mean() < 0.02
