"""What a model or a baseline said of labelled records, and the figures of it with intervals.

Every figure has an interval by a bootstrap over captures: the flows of one capture are not
independent, so whole captures are drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.errors import DataError
from mtc_sensor.inference import Model
from mtc_sensor.training import metrics
from mtc_sensor.training.metrics import FALSE_POSITIVE_RATES, Ranking
from mtc_sensor.training.tasks import Task

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Mask = NDArray[np.bool_]
Scalars = dict[str, float]

DRAWS = 200
"""Bootstrap samples of the captures."""
_TINY = 1e-12


@dataclass(frozen=True)
class Space:
    """The labels that an evaluation is about."""

    labels: tuple[str, ...]
    malicious: Mask
    """(labels,)"""
    of_model: Labels
    """(model's labels,) where each is in `labels`."""
    of_task: Labels
    """(task's labels,) where each is in `labels`; -1 for what the model cannot say."""

    def collapse(self, probabilities: NDArray[np.float32]) -> Floats:
        """Return (n, labels) of a model's (n, its labels) probabilities."""
        found = np.zeros((len(probabilities), len(self.labels)))
        np.add.at(found.T, self.of_model, probabilities.T)
        return found


@dataclass(frozen=True, eq=False)
class Answers:
    """What somebody said of ``n`` records whose labels are known."""

    space: Space
    probabilities: Floats
    """(n, labels)"""
    label: Labels
    """(n,) -1 where the space has no word for it."""
    group: Labels
    """(n,) the capture that a record is of."""
    unknown: Mask
    """(n,) nothing is asserted."""

    @property
    def positive(self) -> Mask:
        """(n,) which records are malicious."""
        return (self.label >= 0) & self.space.malicious[self.label]

    @property
    def malice(self) -> Floats:
        """(n,) log odds of malicious against benign: near 1 a 32-bit probability has no order."""
        bad = self.space.malicious
        odds = self.probabilities[:, bad].sum(axis=1) + _TINY
        good = self.probabilities[:, ~bad].sum(axis=1) + _TINY
        malice: Floats = np.log(odds) - np.log(good)
        return malice


@dataclass(frozen=True)
class Measured:
    """Figures of some answers."""

    answers: Answers
    figures: Scalars
    """Name -> value: accuracy, macro_f1, auroc, tpr@RATE, ece, unknown_rate; NaN if undefined."""
    intervals: dict[str, tuple[float, float]]
    """Name -> 2.5th and 97.5th percentile."""
    table: Floats
    """(labels, labels) confusion: rows are the real labels."""


def space_of(model: Model, task: Task, label: Labels) -> Space:
    """Return the labels that a model and a task share: those of the model, or malicious or not.

    `label` are the (n,) labels that occur.
    """
    names, bad = model.policy.labels, model.policy.is_malicious
    known = {name: index for index, name in enumerate(names)}
    of_task = np.array([known.get(name, -1) for name in task.labels])
    occurring = of_task[np.unique(label)]
    if bad.any() and (occurring < 0).any():
        return Space(
            ("benign", "malicious"),
            np.array([False, True]),
            bad.astype(np.int64),
            np.isin(task.labels, task.malicious).astype(np.int64),
        )
    if (occurring < 0).all():
        raise DataError(
            f"{model.name}: knows none of the labels of task {task.name} "
            f"({', '.join(task.labels)!r:.200}), but {', '.join(names)!r:.200}: choose a --task"
        )
    return Space(names, bad, np.arange(len(names)), of_task)


def measure(answers: Answers, draws: int = DRAWS, seed: int = 1) -> Measured:
    """Return the figures of answers, with intervals by drawing captures `draws` times."""
    figures = _Figures(answers)
    drawn = [figures.of(weights) for weights in metrics.drawn_again(answers.group, draws, seed)]
    return Measured(
        answers,
        figures.of(None),
        {name: metrics.interval([one[name] for one in drawn]) for name in drawn[0]},
        figures.table(None),
    )


class _Figures:
    """All figures of answers, for many weights."""

    def __init__(self, answers: Answers) -> None:
        known = answers.label >= 0
        self._known, self._unknown = known, answers.unknown
        self._label = answers.label[known]
        self._probabilities = answers.probabilities[known]
        self._best = self._probabilities.argmax(axis=1)
        self._labels = len(answers.space.labels)
        detects = answers.space.malicious.any()
        self._ranking = Ranking(answers.malice, answers.positive) if detects else None

    def table(self, weights: Floats | None) -> Floats:
        return metrics.confusion(self._label, self._best, self._labels, weights)

    def of(self, weights: Floats | None) -> Scalars:
        known = None if weights is None else weights[self._known]
        table = self.table(known)
        figures = {
            "accuracy": metrics.accuracy(table),
            "macro_f1": metrics.mean_f1(table),
            "auroc": self._ranking.auroc(weights) if self._ranking else math.nan,
        }
        for rate in FALSE_POSITIVE_RATES:
            found = self._ranking.detection(rate, weights) if self._ranking else math.nan
            figures[f"tpr@{rate:g}"] = found
        figures["ece"] = metrics.calibration_error(self._probabilities, self._label, known)
        figures["unknown_rate"] = float(np.average(self._unknown, weights=weights))
        return figures
