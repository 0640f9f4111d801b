"""The score from which on a verdict is malicious: from an alert budget, not 0.5.

So many false alarms a day among so many benign flows is a false positive rate. Where enough benign
records reach that far, the threshold is a quantile of their scores. Beyond, it lies on a tail
fitted to the highest of them, and says so: a generalised Pareto distribution of the logits, never
lighter than exponential.

References
----------
Pickands: "Statistical Inference Using Extreme Order Statistics", Annals of Statistics 3 (1975).
Hosking, Wallis: "Parameter and Quantile Estimation for the Generalized Pareto Distribution",
Technometrics 29 (1987): the moments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.training.metrics import threshold_at

Floats = NDArray[np.float64]

_ENOUGH = 10
"""False alarms among the records that make a quantile; fewer are chance."""
_TAIL = 0.1
"""Share of the records that the tail is fitted to."""
_FEWEST = 20
"""Records in the tail, at least, where there are as many."""
_NEAREST_ONE = 1e-7
"""Scores are 32-bit: what is nearer to 1 cannot be told from 1."""


@dataclass(frozen=True)
class AlertBudget:
    """What false alarms are allowed. Raises ValueError for what is not a rate."""

    alerts_per_day: float
    flows_per_day: float
    """Benign flows that a model judges in a day."""

    def __post_init__(self) -> None:
        if not 0 < self.alerts_per_day < self.flows_per_day < np.inf:
            raise ValueError(
                f"{self.alerts_per_day:g} alerts of {self.flows_per_day:g} flows a day: give more "
                "flows than alerts, both above 0"
            )

    @property
    def rate(self) -> float:
        """The false positive rate."""
        return self.alerts_per_day / self.flows_per_day


@dataclass(frozen=True)
class Threshold:
    """A threshold and what it rests on."""

    value: float
    """Malicious from this score on."""
    negatives: int
    """Benign records that it was fitted on."""
    extrapolated: bool
    """Whether fewer than ten of them may reach it: it lies on the fitted tail."""


def alert_threshold(negatives: Floats, rate: float) -> Threshold:
    """Return the threshold that `rate` of benign traffic like `negatives` reaches.

    Parameters
    ----------
    negatives
        (n,) scores in [0, 1] of benign records that the model was not trained on.
    rate
        False positive rate, above 0 and below 1.

    Raises
    ------
    ValueError
        Without negatives.
    """
    count = len(negatives)
    if not count:
        raise ValueError("no benign records to set a threshold on")
    quantile = threshold_at(negatives, rate)
    if rate * count >= _ENOUGH:
        return Threshold(_above(quantile), count, False)
    logits = np.sort(_logit(negatives))
    above = min(count, max(round(_TAIL * count), _FEWEST))
    start = logits[-above]
    reach = start + _quantile(logits[-above:] - start, above / count / rate)
    value = max(quantile, 1 / (1 + float(np.exp(-reach))))
    return Threshold(_above(value), count, True)


def _above(score: float) -> float:
    """Return a threshold that a score does not reach, however its sum was rounded."""
    return min(score + _NEAREST_ONE, 1 - _NEAREST_ONE)


def _quantile(excess: Floats, odds: float) -> float:
    """Return the excess that one in `odds` of a tail reaches; `excess` is sorted, rising."""
    shape, scale = _pareto(excess)
    if shape < 1e-6:
        return scale * float(np.log(odds))
    return scale / shape * float(odds**shape - 1)


def _pareto(excess: Floats) -> tuple[float, float]:
    """Return shape (at least 0) and scale by probability-weighted moments."""
    mean = float(excess.mean())
    rank = (np.arange(len(excess), 0, -1) - 0.65) / len(excess)
    weighted = float((rank * excess).mean())
    if mean <= 2 * weighted or weighted <= 0:
        return 0.0, mean
    shape = min(max(2 - mean / (mean - 2 * weighted), 0.0), 0.5)
    return shape, mean * (1 - shape)


def _logit(scores: Floats) -> Floats:
    inside = np.clip(scores, _NEAREST_ONE, 1 - _NEAREST_ONE)
    logits: Floats = np.log(inside) - np.log1p(-inside)
    return logits
