from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mtc_sensor.errors import DataError
from mtc_sensor.features.spec import MASKS
from mtc_sensor.inference import Model
from mtc_sensor.models.bundle import load_bundle
from mtc_sensor.training.audit import as_json, audit
from mtc_sensor.training.made_up import made_up
from mtc_sensor.training.tasks import Task

from ..models.bundles import change_config, make_bundle


def byte_model(path: Path, masks: tuple[str, ...]) -> Model:
    spec = {"kind": "byte_matrix", "packets": 8, "bytes": 80, "masks": list(masks)}
    change_config(make_bundle(path), input=spec)
    return Model(load_bundle(path), "cpu")


def test_a_bundle_that_masks_everything_passes(tmp_path: Path) -> None:
    model = byte_model(tmp_path / "m", MASKS)
    found = audit(model, None, made_up(model, 64))
    assert found.failures == []
    changed = {effect.field for effect in found.effects if effect.most > 1e-4}
    assert {"tcp_window", "payload 0-3", "packet 1", "ip_length"} <= changed


@pytest.mark.parametrize("field", ["addresses", "ports", "tcp_timestamps"])
def test_one_mask_left_out_is_found(tmp_path: Path, field: str) -> None:
    model = byte_model(tmp_path / "m", tuple(mask for mask in MASKS if mask != field))
    assert audit(model, None, made_up(model, 64)).failures == [field]


def test_pictures_hang_on_sizes_times_and_directions(tmp_path: Path) -> None:
    model = Model(load_bundle(make_bundle(tmp_path / "m", "flowpic")), "cpu")
    found = audit(model, None, made_up(model, 64))
    assert {e.field for e in found.effects if e.most > 0} == {"sizes", "times", "directions"}
    assert found.failures == []


def test_with_labels_the_score_changes_too(tmp_path: Path) -> None:
    model = byte_model(tmp_path / "m", MASKS)
    made = made_up(model, 64)
    malice = model.predict(made.flows)[:, 1:].sum(axis=1)
    task = Task("t", ("benign", "bot"), ("bot",), (), lambda _, flows: made.label)
    label = (malice > np.median(malice)).astype(np.int64)
    found = audit(model, task, replace(made, label=label))
    assert found.before == 1
    assert min(effect.score for effect in found.effects) < -0.01
    told = as_json(found)
    assert told["passes"] is True
    assert told["auroc"] == 1


def test_no_records_to_ask_about(tmp_path: Path) -> None:
    model = byte_model(tmp_path / "m", MASKS)
    with pytest.raises(DataError, match="judges none"):
        audit(model, None, made_up(model).take(np.zeros(0, np.int64)))
