"""Choosing the 4-grams of a payload model: those that tell malicious from benign records."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.errors import ConfigError
from mtc_sensor.features.payload import grams
from mtc_sensor.features.spec import PayloadSpec
from mtc_sensor.training.manifest import Source
from mtc_sensor.training.tasks import Labelled, is_malicious

_LEAST_SPREAD = 1e-3


def with_grams(
    spec: PayloadSpec,
    labelled: Labelled,
    malicious: NDArray[np.bool_],
    weights: NDArray[np.float64],
) -> PayloadSpec:
    """Return a spec whose vocabulary are the 4-grams whose shares differ most between the classes.

    The measure is |p1 - p0| / sqrt(p (1 - p) + 1e-3), p1 and p0 being the weighted shares of the
    malicious and of the benign records that have it, p the mean of both. Equally good ones are
    taken in the order of their numbers.

    Parameters
    ----------
    spec
        For the bytes looked at, how many 4-grams, and in how many groups they have to be.
    labelled
        Training records.
    malicious, weights
        (n,) of each.

    Raises
    ------
    ConfigError
        If all or none are malicious.
    """
    if malicious.all() or not malicious.any():
        raise ConfigError("input: payload: choose a task of malicious and benign records")
    row, number = grams(labelled.flows, spec.bytes)
    known, column = np.unique(number, return_inverse=True)
    groups = np.unique(labelled.of(_group), return_inverse=True)[1]
    pairs = np.unique(np.stack([column, groups[row]]), axis=1)
    common = np.bincount(pairs[0], minlength=len(known)) >= spec.least_groups
    p1, p0 = (
        np.bincount(column, (weights * side)[row], len(known)) / weights[side].sum()
        for side in (malicious, ~malicious)
    )
    p = (p1 + p0) / 2
    score = np.where(common, abs(p1 - p0) / np.sqrt(p * (1 - p) + _LEAST_SPREAD), 0.0)
    best = np.argsort(-score, kind="stable")[: spec.grams]
    chosen = np.sort(known[best[score[best] > 0]])
    return spec.model_copy(update={"vocabulary": tuple(chosen.tolist())})


def _group(source: Source) -> str:
    """Name what a source is one of many of: a family, an application, or else the file."""
    if is_malicious(source):
        return f"malicious {source.family}"
    application = source.family.partition("_")[0].partition("-")[0].lower()
    return f"benign {application or source.path}"
