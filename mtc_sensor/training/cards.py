"""Model cards: one template, filled in by the training run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from string import Template

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.models.schema import BundleConfig
from mtc_sensor.training.answers import Measured
from mtc_sensor.training.evaluation import Evaluation
from mtc_sensor.training.recipe import Recipe

TEMPLATE = Path(__file__).parent / "cards" / "card.md"

Labels = NDArray[np.int64]


def render(
    recipe: Recipe,
    config: BundleConfig,
    evaluation: Evaluation,
    train: Labels,
    val: Labels,
    out: Path,
) -> str:
    """Return the card of the bundle `out`; `train` and `val` are labels of the records used."""
    baselines = evaluation.baselines or {}
    kind = str(config.input["kind"]).replace("_", " ")
    said = {
        "name": config.name,
        "network": f"`{config.network.name}`",
        "input": f"`{kind}`",
        "task": recipe.task,
        "labels": ", ".join(config.labels),
        "kinds": " and ".join(config.judges.kinds),
        "min_packets": config.judges.min_packets,
        "malicious": ", ".join(config.malicious) or "none",
        "recipe": f"configs/recipes/{recipe.name}.yaml",
        "out": out,
        "train_records": f"{len(train):,}",
        "val_records": f"{len(val):,}",
        "sets": ", ".join(config.data.sets),
        "manifest": config.data.manifest_sha256[:16],
        "counts": _counts(config.labels, train, val),
        "protocol": config.data.protocol,
        "baseline_names": " | ".join(name.replace("_", " ") for name in baselines),
        "baseline_rule": "---|" * len(baselines),
        "figures": _figures(evaluation.model, baselines),
        "alerts": _alerts(config, evaluation),
        "calibration": _calibration(config.scores),
        "packets": f"{evaluation.speed.packets[0]:g}",
        "seconds": f"{evaluation.speed.seconds[0]:.3g}",
        "notes": f"## What to know\n\n{recipe.notes.strip()}\n\n" if recipe.notes else "",
        "cost": f"{evaluation.speed.us_per_flow:.0f}",
    }
    return Template(TEMPLATE.read_text()).substitute(said)


def _counts(labels: list[str], train: Labels, val: Labels) -> str:
    rows = zip(
        labels,
        np.bincount(train, minlength=len(labels)),
        np.bincount(val, minlength=len(labels)),
        strict=True,
    )
    return "\n".join(f"| {label} | {a} | {b} |" for label, a, b in rows)


def _figures(model: Measured, baselines: Mapping[str, Measured]) -> str:
    lines = []
    for name, value in model.figures.items():
        if math.isnan(value):
            continue
        low, high = model.intervals[name]
        beside = [_number(measured.figures[name]) for measured in baselines.values()]
        lines.append(" | ".join([f"| {name} | {value:.4f}", f"{low:.3f} to {high:.3f}", *beside]))
    return "\n".join(f"{line} |" for line in lines)


def _calibration(scores: Mapping[str, float]) -> str:
    if "ece-left-out" not in scores:
        return "It is not calibrated: too few records, or of one label."
    return (
        f"Calibrated on these records. On captures left out of the fit the calibration error is "
        f"{scores['ece-left-out']:.4f} ({scores['ece-before']:.4f} without calibration; "
        f"{scores['ece-by-chance']:.4f} is what chance gives so few records); debiased (root mean "
        f"square) it is {scores['ece-debiased']:.4f}, by captures {scores['ece-debiased-low']:.3f} "
        f"to {scores['ece-debiased-high']:.3f}."
    )


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"


def _alerts(config: BundleConfig, evaluation: Evaluation) -> str:
    if not evaluation.verdicts:
        return "Nothing in it is malicious, so it raises no alerts."
    budget, limit = config.policy.budget, f"{config.policy.threshold:.6g}"
    of = "not from an alert budget"
    if budget is not None:
        of = (
            f"from {budget.alerts_per_day:g} false alarms of {budget.flows_per_day:g} benign flows "
            f"a day, on {budget.negatives} benign records"
            + (": fewer than it takes, so on a fitted tail" if budget.extrapolated else "")
        )
    shares = ", ".join(
        f"{name.replace('_', ' ')} {value:.4f}" for name, value in evaluation.verdicts.items()
    )
    return f"At its threshold ({limit}, {of}): {shares}."
