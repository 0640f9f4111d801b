"""Measures of a model on captures it was not trained on: calibration, thresholds, scores."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

Floats = NDArray[np.float64]


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the temperature in [0.25, 10] that makes the logits most likely.

    Guo, Pleiss, Sun, Weinberger: "On Calibration of Modern Neural Networks", ICML 2017.
    """
    grid = np.geomspace(0.25, 10, 200)
    scores, target = torch.from_numpy(logits), torch.from_numpy(labels)
    losses = [float(functional.cross_entropy(scores / t, target)) for t in grid]
    return round(float(grid[int(np.argmin(losses))]), 4)


def softmax(logits: NDArray[np.float32], temperature: float) -> Floats:
    """Return (n, labels) probabilities."""
    return torch.softmax(torch.from_numpy(logits).double() / temperature, dim=1).numpy()


def auroc(scores: Floats, positive: NDArray[np.bool_]) -> float:
    """Return the probability that a positive scores above a negative; ties count half."""
    _, tied, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[tied]
    wins = ranks[positive].sum() - positive.sum() * (positive.sum() + 1) / 2
    return float(wins / (positive.sum() * (~positive).sum()))


def threshold_at(negatives: Floats, rate: float) -> float:
    """Return the lowest score such that at most `rate` of the negatives reach it."""
    allowed = int(np.floor(rate * len(negatives)))
    return float(np.nextafter(np.sort(negatives)[::-1][allowed], 2))


def detection_at(scores: Floats, positive: NDArray[np.bool_], rate: float) -> float:
    """Return the share of positives detected at a false alarm rate of at most `rate`."""
    return float((scores[positive] >= threshold_at(scores[~positive], rate)).mean())


def macro_f1(predicted: NDArray[np.int64], labels: NDArray[np.int64], count: int) -> float:
    """Return the mean F1 over the classes that occur."""
    table = np.zeros((count, count))
    np.add.at(table, (labels, predicted), 1)
    hits, found, real = np.diag(table), table.sum(0), table.sum(1)
    f1 = 2 * hits / np.maximum(found + real, 1)
    return float(f1[real > 0].mean())


def calibration_error(probabilities: Floats, labels: NDArray[np.int64]) -> float:
    """Return the expected calibration error: confidence against accuracy, in 15 bins."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    which = np.minimum((confidence * 15).astype(np.int64), 14)
    gaps = np.bincount(which, right.astype(np.float64) - confidence, 15)
    return float(np.abs(gaps).sum() / len(labels))
