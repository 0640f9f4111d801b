"""What every score is reported beside: the nearest neighbour, and gradient-boosted trees."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.errors import MtcError

Inputs = NDArray[np.generic]
Baseline = Callable[[Inputs, NDArray[np.int64], Inputs, int], NDArray[np.float64]]

_CHUNK = 1 << 22
"""Distances in memory at a time."""


def nearest_neighbour(
    train: Inputs, labels: NDArray[np.int64], test: Inputs, classes: int
) -> NDArray[np.float64]:
    """Return (n, classes) probabilities that fall with the distance to the class's nearest sample.

    The distance is Euclidean, on the raw inputs.
    """
    known = train.reshape(len(train), -1).astype(np.float32)
    asked = test.reshape(len(test), -1).astype(np.float32)
    step = max(1, _CHUNK // len(known))
    parts = [
        _nearest(known, labels, asked[start : start + step], classes)
        for start in range(0, len(asked), step)
    ]
    closeness = 1 / (np.concatenate([np.empty((0, classes)), *parts]) + 1e-6)
    shares: NDArray[np.float64] = closeness / closeness.sum(1, keepdims=True)
    return shares


def _nearest(
    known: NDArray[np.float32], labels: NDArray[np.int64], asked: NDArray[np.float32], classes: int
) -> NDArray[np.float64]:
    """Return (n, classes) distances to the nearest sample of each class, infinite without any."""
    squares = (asked**2).sum(1)[:, None] + (known**2).sum(1) - 2 * asked @ known.T
    distance = np.sqrt(np.maximum(squares, 0))
    nearest = np.full((len(asked), classes), np.inf)
    for label in np.unique(labels):
        nearest[:, label] = distance[:, labels == label].min(1)
    return nearest


def boosted_trees(
    train: Inputs, labels: NDArray[np.int64], test: Inputs, classes: int, seed: int = 1
) -> NDArray[np.float64]:
    """Return (n, classes) probabilities of scikit-learn's histogram gradient boosting.

    Raises MtcError without scikit-learn.
    """
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 - an extra
    except ImportError as fault:
        raise MtcError("baselines need scikit-learn: pip install 'mtc-sensor[train]'") from fault
    probabilities = np.zeros((len(test), classes))
    present = np.unique(labels)
    if len(present) == 1:
        probabilities[:, present[0]] = 1
        return probabilities
    model = HistGradientBoostingClassifier(max_iter=100, random_state=seed)
    model.fit(train.reshape(len(train), -1), labels)
    probabilities[:, model.classes_] = model.predict_proba(test.reshape(len(test), -1))
    return probabilities


BASELINES: dict[str, Baseline] = {
    "nearest_neighbour": nearest_neighbour,
    "boosted_trees": boosted_trees,
}
"""Trained and asked on `splits.size_sequences`: sizes and directions of the first 10 packets."""
