"""From a recipe and its data to a bundle, with the record of how it came about."""

from __future__ import annotations

import json
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor, nn

from mtc_sensor import __version__
from mtc_sensor.features.spec import FeatureSpec, InputSpec, PayloadSpec, TokensSpec
from mtc_sensor.features.tokens import with_vocabulary
from mtc_sensor.inference import Model
from mtc_sensor.models.bundle import CARD, CONFIG, Bundle, load_bundle, save_bundle
from mtc_sensor.models.networks import build_network
from mtc_sensor.models.schema import BundleConfig
from mtc_sensor.training.cards import render
from mtc_sensor.training.checkpoint import History, Progressed
from mtc_sensor.training.data import Data
from mtc_sensor.training.evaluation import Evaluation, as_json, evaluate
from mtc_sensor.training.forests import fit_forest
from mtc_sensor.training.fusing import fit_fusion, fusion_spec
from mtc_sensor.training.grams import with_grams
from mtc_sensor.training.loop import Fitting, Told, figures_of, pretrain
from mtc_sensor.training.pictures import draw_confusion, draw_curves
from mtc_sensor.training.ranks import Ranks
from mtc_sensor.training.recipe import Recipe
from mtc_sensor.training.sampler import Sampler, sampling_weights
from mtc_sensor.training.thresholds import AlertBudget
from mtc_sensor.training.trust import Trust, calibrate

RUN = "run"
"""Folder in a bundle's with what its training left: run.json and pictures."""
CHECKPOINT = "checkpoint.safetensors"
_SURE = 0.5
"""Below this calibrated probability the best label is more likely wrong than right: ``unknown``."""


@dataclass(frozen=True, eq=False)
class Trained:
    """What training came to."""

    path: Path
    """The bundle's folder."""
    evaluation: Evaluation
    """On the validation records."""
    history: History
    seconds: float
    """That training and measuring took."""

    def measure(self, name: str) -> float:
        """Return a figure on the validation records."""
        return self.evaluation.model.figures[name]


def train(
    recipe: Recipe,
    data: Data,
    out: Path,
    ranks: Ranks,
    *,
    resume: bool = False,
    told: Told = lambda epoch, epochs, figures: None,
) -> Trained | None:
    """Train a recipe's bundle and write it, its card and the record of the run into `out`.

    Parameters
    ----------
    recipe, data
        What to train, on what.
    out
        Folder of the bundle.
    ranks
        Which of the processes this is; only the first writes, and gets something returned.
    resume
        Go on from the checkpoint in `out`, if there is one.
    told
        Told after each epoch.

    Raises
    ------
    ConfigError
        The recipe cannot be trained, or the checkpoint is of another one.
    BundleError
        What was written would be refused.
    """
    began = time.time()
    state, notes = fit(recipe, data, out, ranks, resume=resume, told=told)
    if not ranks.leads:
        return None
    evaluation = finish(recipe, data, out)
    trained = Trained(out, evaluation, state.history, round(time.time() - began, 1))
    _record(recipe, data, trained, notes)
    (out / RUN / CHECKPOINT).unlink(missing_ok=True)
    return trained


def fit(
    recipe: Recipe,
    data: Data,
    out: Path,
    ranks: Ranks,
    *,
    resume: bool = False,
    told: Told = lambda epoch, epochs, figures: None,
) -> tuple[Progressed, dict[str, object]]:
    """Train a recipe's network into a bundle without calibration, scores or card.

    Parameters and errors are those of `train`. Returns how training went, and notes on it.
    """
    notes: dict[str, object] = {}
    state = Progressed()
    network: nn.Module
    if data.members:
        spec: FeatureSpec = fusion_spec(data.members)
        network = fit_fusion(recipe, data, fusion_spec(data.members))
    else:
        weights = sampling_weights(data.train, data.task, recipe.balance)
        spec = built = _fitted_spec(recipe, data, weights)
        sampler = Sampler(data.train, weights, built, recipe, ranks.device)
        if recipe.is_forest:
            network = fit_forest(recipe, sampler, spec.shape, len(data.task.labels))
        else:
            network, state, notes = _fit(recipe, data, built, sampler, out, ranks, resume, told)
    ranks.wait()
    if ranks.leads:
        save_bundle(out, _config(recipe, data, spec), network.cpu(), _reference(spec), "")
    return state, notes


def _fit(
    recipe: Recipe,
    data: Data,
    spec: InputSpec,
    sampler: Sampler,
    out: Path,
    ranks: Ranks,
    resume: bool,
    told: Told,
) -> tuple[nn.Module, Progressed, dict[str, object]]:
    torch.manual_seed(recipe.seed)
    labels = len(data.task.labels)
    network = build_network(recipe.network.name, spec.shape, labels, recipe.network.args)
    network.to(ranks.device)
    checkpoint = out / RUN / CHECKPOINT
    fresh = recipe.pretrain and not (resume and checkpoint.is_file())
    before = pretrain(network, sampler, recipe, ranks.device) if fresh else []
    model = _bare(recipe, data, spec, network, ranks)
    fitting = Fitting(network, sampler, lambda: _validated(model, data), recipe, ranks)
    fingerprint = f"{recipe.fingerprint()}-{data.manifest}"
    state = fitting.run(checkpoint, fingerprint, resume=resume, told=told)
    return network, state, {"pretraining": before, "best_epoch": state.best_epoch}


def finish(recipe: Recipe, data: Data, out: Path) -> Evaluation:
    """Calibrate the bundle in `out`, measure it, and write its scores and its card."""
    budget = recipe.budget
    trust = calibrate(
        out,
        None if recipe.equal else data.train.flows,
        data.val,
        AlertBudget(budget.alerts_per_day, budget.flows_per_day) if budget else None,
    )
    model = Model(load_bundle(out), "cpu")
    evaluation = evaluate(model, data.task, data.val, data.train, recipe.protocol)
    settings = yaml.safe_load((out / CONFIG).read_text())
    settings["scores"] = _scores(evaluation, data) | _calibration(trust)
    (out / CONFIG).write_text(yaml.safe_dump(settings, sort_keys=False))
    config = load_bundle(out).config
    card = render(recipe, config, evaluation, data.train.label, data.val.label, out)
    (out / CARD).write_text(card)
    return evaluation


def _fitted_spec(recipe: Recipe, data: Data, weights: NDArray[np.float64]) -> InputSpec:
    spec, train = recipe.input, data.train
    assert spec is not None
    if isinstance(spec, PayloadSpec):
        return with_grams(spec, train, data.task.is_malicious(train.label), weights)
    return with_vocabulary(spec, train.flows) if isinstance(spec, TokensSpec) else spec


def _config(recipe: Recipe, data: Data, spec: FeatureSpec) -> dict[str, object]:
    sets = sorted({source.set or "-" for source in data.train.sources})
    split = f"{recipe.protocol} protocol, split by {recipe.split}"
    if recipe.protocol == "paper":
        split = "paper protocol: random split of connections, to compare with published figures"
    if data.members and not recipe.equal:
        split += "; fitted on half of the validation captures, measured on the others"
    return {
        "format": 1,
        "name": recipe.name,
        "version": "1",
        "network": recipe.network.model_dump(mode="json"),
        "input": spec.model_dump(mode="json"),
        "labels": list(data.task.labels),
        "malicious": list(data.task.malicious),
        "temperature": 1.0,
        "judges": recipe.judges.model_dump(mode="json"),
        "policy": {"threshold": 0.5 if data.task.malicious else None, "unknown_below": _SURE},
        "data": {"manifest_sha256": data.manifest, "sets": sets, "protocol": split},
        "scores": {},
    }


def _bare(recipe: Recipe, data: Data, spec: FeatureSpec, network: nn.Module, ranks: Ranks) -> Model:
    """Return the network as a model, to be validated by the code that will serve it."""
    nothing = {"weights_sha256": "0" * 64, "reference_sha256": "0" * 64}
    config = BundleConfig.model_validate(_config(recipe, data, spec) | nothing)
    return Model(Bundle(Path(recipe.name), config, spec, network), ranks.device.type)


def _validated(model: Model, data: Data) -> dict[str, float]:
    probabilities = model.predict(data.val.flows)
    return figures_of(probabilities, data.val.label, model.policy.is_malicious)


def _reference(spec: FeatureSpec) -> Tensor:
    """Make inputs for `verify` that hold no traffic."""
    rng = np.random.default_rng(0)
    if spec.kind in ("byte_matrix", "packet_bytes"):
        return torch.from_numpy(rng.integers(0, 256, (8, *spec.shape), np.uint8))
    if spec.kind == "flowpic":
        return torch.from_numpy(rng.poisson(0.02, (2, *spec.shape)).astype(np.uint8))
    return torch.from_numpy(rng.integers(0, 3, (8, *spec.shape)).astype(np.float32))


def _scores(evaluation: Evaluation, data: Data) -> dict[str, float]:
    figures = {**evaluation.model.figures, **evaluation.verdicts}
    named = {name.replace("@", "-at-fpr-"): value for name, value in figures.items()}
    kept = {name: round(value, 4) for name, value in named.items() if np.isfinite(value)}
    return kept | {"train-records": len(data.train), "val-records": len(data.val)}


def _calibration(trust: Trust) -> dict[str, float]:
    """Return calibration errors that the fit has not seen: of captures left out of it."""
    fit = trust.fit
    if fit is None:
        return {}
    named = {
        "ece-before": fit.before,
        "ece-left-out": fit.error,
        "ece-by-chance": fit.floor,
        "ece-debiased": fit.debiased,
        "ece-debiased-low": fit.between[0],
        "ece-debiased-high": fit.between[1],
    }
    return {name: round(value, 4) for name, value in named.items()}


def _record(recipe: Recipe, data: Data, trained: Trained, notes: dict[str, object]) -> None:
    """Write run.json and the pictures."""
    folder = trained.path / RUN
    folder.mkdir(parents=True, exist_ok=True)
    labels = data.task.labels
    sides = {"train": data.train.label, "val": data.val.label}
    counts = {k: np.bincount(v, minlength=len(labels)).tolist() for k, v in sides.items()}
    said = {
        "recipe": recipe.model_dump(mode="json"),
        "manifest_sha256": data.manifest,
        "labels": labels,
        "records": counts,
        "history": trained.history,
        **notes,
        "evaluation": as_json(trained.evaluation),
        "seconds": trained.seconds,
        "versions": {
            "mtc-sensor": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
    (folder / "run.json").write_text(json.dumps(said, indent=1) + "\n")
    measured = trained.evaluation.model
    draw_confusion(folder / "confusion.png", measured.table, measured.answers.space.labels)
    if trained.history:
        draw_curves(folder / "curves.png", trained.history)
