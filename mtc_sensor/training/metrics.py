"""Measures of a model on labelled records, each with weights so that a bootstrap is one argument.

Scores are higher for positives (malicious records). Weights are (n,) and count a row as often as
they say; all ones without. A measure that its rows do not define (no positives, nothing scored) is
NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Mask = NDArray[np.bool_]

FALSE_POSITIVE_RATES = (1e-2, 1e-3, 1e-4)
"""Where detection is reported; below 1 / negatives it means: without a single false alarm."""
_BINS = 15


class Ranking:
    """Rows in the order of their scores, to be asked with many weights.

    Parameters
    ----------
    scores
        (n,) finite, higher for positives.
    positive
        (n,) which rows are positives.
    """

    def __init__(self, scores: Floats, positive: Mask) -> None:
        self._score, self._tied = np.unique(-scores, return_inverse=True)
        self._positive = positive

    def auroc(self, weights: Floats | None = None) -> float:
        """Return the probability that a positive scores above a negative; ties count half."""
        hits, alarms = self._curve(weights)
        if not (hits[-1] and alarms[-1]):
            return math.nan
        area = np.sum(np.diff(alarms) * (hits[1:] + hits[:-1]) / 2)
        return float(area / (hits[-1] * alarms[-1]))

    def detection(self, rate: float, weights: Floats | None = None) -> float:
        """Return the share of positives found where at most `rate` of the negatives are alarms."""
        hits, alarms = self._curve(weights)
        if not (hits[-1] and alarms[-1]):
            return math.nan
        allowed = np.flatnonzero(alarms <= rate * alarms[-1] * (1 + 1e-12))[-1]
        return float(hits[allowed] / hits[-1])

    def curve(self) -> tuple[Floats, Floats]:
        """Return the receiver operating characteristic: false and true positive rates, rising."""
        hits, alarms = self._curve(None)
        return alarms / max(alarms[-1], 1), hits / max(hits[-1], 1)

    def _curve(self, weights: Floats | None) -> tuple[Floats, Floats]:
        """Weight of the positives and of the negatives at and above each score, from none on."""
        w = np.ones(len(self._positive)) if weights is None else weights
        size = len(self._score)
        hits = np.bincount(self._tied, w * self._positive, size)
        alarms = np.bincount(self._tied, w * ~self._positive, size)
        return np.append(0.0, np.cumsum(hits)), np.append(0.0, np.cumsum(alarms))


def auroc(scores: Floats, positive: Mask) -> float:
    """Return the probability that a positive scores above a negative; ties count half."""
    return Ranking(scores, positive).auroc()


def threshold_at(negatives: Floats, rate: float) -> float:
    """Return the lowest score such that at most `rate` of the negatives reach it."""
    allowed = int(np.floor(rate * len(negatives)))
    return float(np.nextafter(np.sort(negatives)[::-1][allowed], np.inf))


def confusion(
    labels: Labels, predicted: Labels, count: int, weights: Floats | None = None
) -> Floats:
    """Return (count, count): rows are the real labels, columns the predicted ones."""
    cells = np.bincount(labels * count + predicted, weights, count * count)
    return cells.reshape(count, count).astype(np.float64)


@dataclass(frozen=True)
class PerClass:
    """One value per class; precision, recall and F1 are 0 where nothing was predicted or real."""

    precision: Floats
    recall: Floats
    f1: Floats
    support: Floats


def per_class(table: Floats) -> PerClass:
    """Return the measures of every class of a confusion table."""
    hits, found, real = np.diag(table), table.sum(0), table.sum(1)
    return PerClass(
        precision=_ratio(hits, found),
        recall=_ratio(hits, real),
        f1=_ratio(2 * hits, found + real),
        support=real,
    )


def accuracy(table: Floats) -> float:
    """Return the share of a confusion table's rows that are right."""
    return float(np.trace(table) / table.sum()) if table.sum() else math.nan


def mean_f1(table: Floats) -> float:
    """Return the mean F1 over the classes that occur."""
    scores = per_class(table)
    return float(scores.f1[scores.support > 0].mean()) if scores.support.any() else math.nan


def macro_f1(predicted: Labels, labels: Labels, count: int) -> float:
    """Return the mean F1 over the classes that occur."""
    return mean_f1(confusion(labels, predicted, count))


@dataclass(frozen=True)
class Reliability:
    """Confidence beside accuracy, in equal bins of confidence; (15,) each, NaN in empty bins."""

    confidence: Floats
    accuracy: Floats
    share: Floats


def reliability(
    probabilities: Floats, labels: Labels, weights: Floats | None = None
) -> Reliability:
    """Return the reliability diagram of the likeliest labels."""
    confidence = probabilities.max(1)
    which = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    return _binned(which, confidence, probabilities.argmax(1) == labels, _or_ones(weights, labels))


def _binned(which: Labels, confidence: Floats, right: Mask, weights: Floats) -> Reliability:
    total = np.bincount(which, weights, _BINS)
    with np.errstate(invalid="ignore"):
        return Reliability(
            np.bincount(which, weights * confidence, _BINS) / total,
            np.bincount(which, weights * right, _BINS) / total,
            total / total.sum(),
        )


def _or_ones(weights: Floats | None, labels: Labels) -> Floats:
    return np.ones(len(labels)) if weights is None else weights


def calibration_error(
    probabilities: Floats, labels: Labels, weights: Floats | None = None
) -> float:
    """Return the expected calibration error: confidence against accuracy, in 15 bins.

    Guo, Pleiss, Sun, Weinberger: "On Calibration of Modern Neural Networks", ICML 2017.
    """
    if not len(labels):
        return math.nan
    bins = reliability(probabilities, labels, weights)
    return float(np.nansum(bins.share * np.abs(bins.accuracy - bins.confidence)))


def debiased_calibration_error(
    probabilities: Floats, labels: Labels, weights: Floats | None = None
) -> float:
    """Return the root mean square calibration error less what chance adds to it where rows are few.

    In 15 bins of as many rows each: the squared gap between confidence and accuracy less the
    variance of that accuracy; 0 where chance explains more than there is.

    Kumar, Liang, Ma: "Verified Uncertainty Calibration", NeurIPS 2019.
    """
    if not len(labels):
        return math.nan
    w, confidence = _or_ones(weights, labels), probabilities.max(1)
    order = np.argsort(confidence, kind="stable")
    middle = np.cumsum(w[order]) - w[order] / 2
    which = np.empty(len(order), np.int64)
    which[order] = np.minimum(middle / w.sum() * _BINS, _BINS - 1).astype(np.int64)
    bins = _binned(which, confidence, probabilities.argmax(1) == labels, w)
    with np.errstate(invalid="ignore"):
        rows = np.bincount(which, w, _BINS) ** 2 / np.bincount(which, w**2, _BINS)
    variance = bins.accuracy * (1 - bins.accuracy) / np.maximum(rows - 1, 1)
    gaps = (bins.accuracy - bins.confidence) ** 2 - variance
    return math.sqrt(max(float(np.nansum(bins.share * gaps)), 0.0))


def calibration_floor(probabilities: Floats, seed: int = 1, draws: int = 50) -> float:
    """Return the calibration error that perfectly calibrated probabilities would show.

    With few rows in a bin, chance alone keeps accuracy from confidence. Labels are drawn from the
    probabilities themselves, `draws` times.
    """
    rng = np.random.default_rng(seed)
    ends = np.cumsum(probabilities, axis=1)
    ends /= ends[:, -1:]
    errors = [
        calibration_error(probabilities, (rng.random((len(ends), 1)) > ends).sum(1))
        for _ in range(draws)
    ]
    return float(np.mean(errors))


def drawn_again(group: Labels, draws: int, seed: int = 1) -> Iterator[Floats]:
    """Yield `draws` times (n,) weights for a bootstrap over groups.

    `group` (n,) says which rows are drawn together: the rows of one capture are not independent.
    """
    _, group = np.unique(group, return_inverse=True)
    count = int(group.max(initial=0)) + 1
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        yield rng.multinomial(count, np.full(count, 1 / count))[group].astype(np.float64)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 2.5th and 97.5th percentile of what is defined."""
    defined = np.array([value for value in values if not math.isnan(value)])
    if not len(defined):
        return math.nan, math.nan
    low, high = np.percentile(defined, (2.5, 97.5))
    return float(low), float(high)


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
