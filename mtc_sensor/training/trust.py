"""What makes a trained bundle's verdicts worth believing, fitted on captures it was not trained on.

`calibrate` gives a bundle, in place: neighbours to measure novelty by, a calibration, the novelty
above which a record is ``unknown``, and the threshold of malicious verdicts from an alert budget.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import yaml
from numpy.typing import NDArray

from mtc_sensor.flow import FlowBatch
from mtc_sensor.inference import Model
from mtc_sensor.models.bundle import CONFIG, NEIGHBOURS, Bundle, load_bundle
from mtc_sensor.models.forest import OnnxForest
from mtc_sensor.models.novelty import Neighbours, calibrated
from mtc_sensor.models.schema import Budget, BundleConfig, Novelty
from mtc_sensor.models.weights import sha256_of
from mtc_sensor.training.calibration import Fit, Samples, fit_calibration
from mtc_sensor.training.tasks import Labelled, Task
from mtc_sensor.training.thresholds import AlertBudget, Threshold, alert_threshold

KNOWN = 0.95
"""Share of validation records of known labels that stay within the novelty limit, or, where novelty
is not measured, are as sure as `unknown_below` demands."""
_NEIGHBOUR = 5
_KEPT = 1024
"""Training inputs whose features are kept; four times as many found no more unknown classes."""
_FEWEST = 100
"""Records below which a calibration would be chance."""


@dataclass(frozen=True)
class Trust:
    """What was fitted."""

    config: BundleConfig
    fit: Fit | None
    """None where the labels of the records do not allow a calibration; the bundle keeps its own."""
    threshold: Threshold | None
    """None for a bundle without malicious labels."""


def calibrate(
    path: Path, train: FlowBatch | None, val: Labelled, budget: AlertBudget | None
) -> Trust:
    """Fit the trust of the bundle in the folder `path`, and write it there.

    Parameters
    ----------
    path
        A bundle.
    train
        Records that it was trained on, for the neighbours; None keeps those that it has.
    val
        Records of other captures; labels are positions in the bundle's labels.
    budget
        What false alarms are allowed; None keeps the threshold, and with it what it means.

    Raises
    ------
    BundleError
        If the bundle is refused.
    ValueError
        If no record of `val` is one that the model judges.
    """
    bundle = load_bundle(path)
    if train is not None and not _shows_bytes(bundle):
        bundle = _with_neighbours(bundle, train)
    model = _plain(bundle)
    rows = model.rows(val.flows)
    samples = _samples(model, val.take(rows))
    kept = np.logical_and.reduce(np.isfinite(samples.probabilities), axis=1)
    if not kept.any():
        raise ValueError("no record among those to calibrate on is one that the model judges")
    trust = fit_trust(bundle.config, samples.take(kept), budget)
    _write(path, trust.config)
    return replace(trust, config=load_bundle(path).config)


def in_labels_of(model: Model, task: Task, labelled: Labelled) -> Labelled:
    """Return records with labels of the model's, those without one left out.

    Benign labels that it does not know are its own benign one, if it has one alone.
    """
    names = model.policy.labels
    harmless = [i for i, name in enumerate(names) if name not in model.policy.malicious]
    benign = harmless[0] if model.policy.malicious and len(harmless) == 1 else -1
    known = [
        names.index(label) if label in names else -1 if label in task.malicious else benign
        for label in task.labels
    ]
    label = np.array(known, np.int64)[labelled.label]
    kept = labelled.take(label >= 0)
    return replace(kept, label=label[label >= 0])


def fit_trust(config: BundleConfig, samples: Samples, budget: AlertBudget | None) -> Trust:
    """Return a bundle's configuration with what the outcomes of its bare model say."""
    fit = None
    policy = config.policy
    if len(samples.label) >= _FEWEST and len(np.unique(samples.label)) > 1:
        bad = config.verdict_policy().is_malicious
        alike = bad.astype(np.int64) if bad.any() else np.arange(len(bad))
        fit = fit_calibration(samples, alike)
        config = config.model_copy(update={"calibration": fit.calibration})
        if samples.novelty is not None:
            limit = round(float(np.quantile(samples.novelty, KNOWN)), 4)
            policy = policy.model_copy(update={"unknown_above": limit})
        else:
            sure = float(np.quantile(_calibrated(config, samples).max(axis=1), 1 - KNOWN))
            policy = policy.model_copy(update={"unknown_below": round(sure, 4)})
    threshold = _threshold(config, samples, budget)
    if threshold is not None and budget is not None:
        told = Budget(
            alerts_per_day=budget.alerts_per_day,
            flows_per_day=budget.flows_per_day,
            negatives=threshold.negatives,
            extrapolated=threshold.extrapolated,
        )
        policy = policy.model_copy(update={"threshold": threshold.value, "budget": told})
    return Trust(config.model_copy(update={"policy": policy}), fit, threshold)


def _threshold(
    config: BundleConfig, samples: Samples, budget: AlertBudget | None
) -> Threshold | None:
    bad = config.verdict_policy().is_malicious
    if budget is None or not bad.any():
        return None
    benign = _calibrated(config, samples)[~bad[samples.label]]
    malice = benign[:, bad].astype(np.float64).sum(axis=1)
    return alert_threshold(np.minimum(malice, 1.0), budget.rate)


def _calibrated(config: BundleConfig, samples: Samples) -> NDArray[np.float32]:
    if config.calibration is None:
        return samples.probabilities
    novelty = np.zeros(0, np.float32) if samples.novelty is None else samples.novelty
    return calibrated(samples.probabilities, novelty, config.calibration)


def _with_neighbours(bundle: Bundle, train: FlowBatch) -> Bundle:
    """Choose training inputs at random, keep their features in a file, and name it."""
    model = _plain(bundle)
    features = model.features(train.take(model.rows(train)))
    chosen = np.random.default_rng(1).permutation(len(features))[:_KEPT]
    tensor = torch.from_numpy(features[np.sort(chosen)]).half()
    data = safetensors.torch.save({"features": tensor})
    (bundle.path / NEIGHBOURS).write_bytes(data)
    novelty = Novelty(k=_NEIGHBOUR, neighbours_sha256=sha256_of(data))
    config = bundle.config.model_copy(update={"novelty": novelty})
    return replace(bundle, config=config, neighbours=Neighbours(tensor, _NEIGHBOUR))


def _shows_bytes(bundle: Bundle) -> bool:
    """Tell whether neighbours would be pieces of the training captures themselves."""
    return isinstance(bundle.network, OnnxForest) and bundle.spec.head_bytes > 0


def _plain(bundle: Bundle) -> Model:
    """Return the model as it is without a calibration."""
    config = bundle.config.model_copy(update={"calibration": None})
    return Model(replace(bundle, config=config))


def _samples(model: Model, val: Labelled) -> Samples:
    probabilities, novelty = model.outputs(val.flows)
    return Samples(probabilities, novelty, val.label, val.source)


def _write(path: Path, config: BundleConfig) -> None:
    """Replace the bundle's configuration, keys that say nothing left out."""
    settings = config.model_dump(mode="json")
    optional = {key: settings.pop(key) for key in ("calibration", "novelty")}
    settings["policy"] = {
        k: v for k, v in settings["policy"].items() if v is not None or k == "threshold"
    }
    settings |= {key: value for key, value in optional.items() if value is not None}
    (path / CONFIG).write_text(yaml.safe_dump(settings, sort_keys=False))
