"""Probabilities that mean what they say on captures that the model was not trained on.

A temperature alone cannot do it: a network is as sure of what it has never seen as of what it
knows. So confidence also falls with the distance from the training data (`models.novelty`), and a
bias takes up other shares of the labels: one per label, or one for all malicious labels, which
leaves the order of what is suspicious as it is. Which of these help is decided by likelihood on
captures left out of the fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mtc_sensor.models.novelty import calibrated
from mtc_sensor.models.schema import Calibration
from mtc_sensor.training.metrics import (
    calibration_error,
    calibration_floor,
    debiased_calibration_error,
    drawn_again,
    interval,
)

Labels = NDArray[np.int64]

_FOLDS = 10
_SHRINK_BIAS = 1e-2
_SHRINK_FADE = 1e-3
_LEAST = 1e-9
_DRAWS = 200


@dataclass(frozen=True)
class Samples:
    """What a calibration is fitted to; ``n`` records of validation captures."""

    probabilities: NDArray[np.float32]
    """(n, labels) as the model gives them."""
    novelty: NDArray[np.float32] | None
    """(n,)"""
    label: Labels
    """(n,)"""
    group: Labels
    """(n,) the capture that a record is of."""

    def take(self, rows: NDArray[np.bool_]) -> Samples:
        """Return the rows that a mask names."""
        novelty = None if self.novelty is None else self.novelty[rows]
        return Samples(self.probabilities[rows], novelty, self.label[rows], self.group[rows])


@dataclass(frozen=True)
class Fit:
    """A calibration and what it is worth on captures left out of its own fit."""

    calibration: Calibration
    probabilities: NDArray[np.float32]
    """(n, labels) of every record by a calibration that has not seen its capture."""
    before: float
    """Calibration error without."""
    error: float
    """Calibration error of `probabilities`."""
    floor: float
    """Calibration error that chance gives to perfect probabilities of so many records."""
    debiased: float
    """`debiased_calibration_error` of `probabilities`."""
    between: tuple[float, float]
    """Its 95 % interval, by drawing captures."""


def fit_calibration(samples: Samples, alike: Labels) -> Fit:
    """Choose and fit a calibration: always a temperature; fade and bias where they help.

    Parameters
    ----------
    samples
        Records of captures that the model was not trained on.
    alike
        (labels,) labels with the same number have one bias.

    Raises
    ------
    ValueError
        Without records.
    """
    if not len(samples.label):
        raise ValueError("nothing to calibrate on")
    fades = (False,) if samples.novelty is None else (False, True)
    choices = list(product(fades, (False, True)))
    held_out = [_held_out(samples, alike, *choice) for choice in choices]
    best = int(np.argmin([_surprise(p, samples.label) for p in held_out]))
    left_out, label = held_out[best].astype(np.float64), samples.label
    drawn = drawn_again(samples.group, _DRAWS)
    return Fit(
        calibration=_fit(samples, alike, *choices[best]),
        probabilities=held_out[best],
        before=calibration_error(samples.probabilities.astype(np.float64), label),
        error=calibration_error(left_out, label),
        floor=calibration_floor(left_out),
        debiased=debiased_calibration_error(left_out, label),
        between=interval([debiased_calibration_error(left_out, label, w) for w in drawn]),
    )


def _held_out(samples: Samples, alike: Labels, fade: bool, bias: bool) -> NDArray[np.float32]:
    """Return every record's probabilities by a calibration fitted without its capture."""
    found = samples.probabilities.copy()
    for tested in _folds(samples.group):
        part = samples.take(tested)
        how = _fit(samples.take(~tested), alike, fade, bias)
        found[tested] = calibrated(part.probabilities, _novelty(part), how)
    return found


def _folds(group: Labels) -> Iterator[NDArray[np.bool_]]:
    """Share the captures out into ten parts, or one each where there are fewer."""
    captures, which = np.unique(group, return_inverse=True)
    fold = np.random.default_rng(1).permutation(len(captures)) % _FOLDS
    for number in np.unique(fold) if len(captures) > 1 else ():
        yield fold[which] == number


def _fit(samples: Samples, alike: Labels, fade: bool, bias: bool) -> Calibration:
    """Return the likeliest calibration, its fade and bias shrunk towards none."""
    log = torch.from_numpy(np.log(np.maximum(samples.probabilities.astype(np.float64), _LEAST)))
    novelty = torch.from_numpy(_novelty(samples).astype(np.float64))
    centre, spread = novelty.mean(), novelty.std(correction=0) + _LEAST
    label, z = torch.from_numpy(samples.label), (novelty - centre) / spread
    gain, slope = (torch.zeros(1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    shift = torch.zeros(int(alike.max()) + 1, dtype=torch.float64, requires_grad=True)

    def loss() -> Tensor:
        scores = log * torch.exp(gain - slope * fade * z)[:, None] + shift[alike] * bias
        shrink = _SHRINK_BIAS * (shift**2).mean() + _SHRINK_FADE * (slope**2).sum()
        return functional.cross_entropy(scores, label) + shrink

    _minimise(loss, [gain, slope, shift])
    if fade and slope < 0:  # surer of what is farther: chance, not sense
        return _fit(samples, alike, False, bias)
    fading = float(slope.detach() * fade / spread)
    return Calibration(
        gain=round(float(gain.detach()) + fading * float(centre), 4),
        fade=round(fading, 4),
        bias=[round(b, 4) for b in (shift.detach()[alike] * bias).tolist()],
    )


def _minimise(loss: Callable[[], Tensor], parameters: list[Tensor]) -> None:
    solver = torch.optim.LBFGS(
        parameters,
        max_iter=100,
        tolerance_grad=1e-5,
        tolerance_change=1e-6,
        line_search_fn="strong_wolfe",
    )

    def step() -> Tensor:
        solver.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(step)  # type: ignore[no-untyped-call]


def _novelty(samples: Samples) -> NDArray[np.float32]:
    none = np.zeros(len(samples.label), np.float32)
    return none if samples.novelty is None else samples.novelty


def _surprise(probabilities: NDArray[np.float32], label: Labels) -> float:
    """Return the mean negative log-likelihood."""
    likely = probabilities[np.arange(len(label)), label].astype(np.float64)
    return float(-np.log(np.maximum(likely, _LEAST)).mean())


def softmax(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """Return (n, labels) probabilities."""
    return torch.softmax(torch.from_numpy(logits).double() / temperature, dim=1).numpy()
