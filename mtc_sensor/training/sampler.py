"""What training sees of the records: drawn by weight, augmented, one input of each."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtc_sensor.features.spec import InputSpec
from mtc_sensor.flow import FlowBatch
from mtc_sensor.models.inputs import CPU, inputs_of
from mtc_sensor.training.augment import BYTES
from mtc_sensor.training.augment_flows import FLOWS
from mtc_sensor.training.recipe import Balance, Recipe
from mtc_sensor.training.tasks import Labelled, Task, is_malicious

Labels = NDArray[np.int64]


class Sampler:
    """Draws training batches; what it draws depends on the generator that it is given alone.

    Parameters
    ----------
    labelled
        The training records; labels are those of the model.
    weights
        (n,) sampling probabilities up to a factor.
    spec
        Of the model's input.
    recipe
        For its augmentations.
    device
        Where batches go.
    """

    def __init__(
        self,
        labelled: Labelled,
        weights: NDArray[np.float64],
        spec: InputSpec,
        recipe: Recipe,
        device: torch.device = CPU,
    ) -> None:
        self._flows, self._label = labelled.flows, labelled.label
        self._weights, self._ends = weights, np.cumsum(weights) / weights.sum()
        self._spec, self._device = spec, device
        self._augment = recipe.augment

    def __len__(self) -> int:
        return len(self._label)

    def draw(self, rng: np.random.Generator, size: int) -> tuple[Tensor, Tensor]:
        """Return up to `size` inputs and (B,) labels; of a record with several inputs one."""
        rows = np.minimum(np.searchsorted(self._ends, rng.random(size)), len(self) - 1)
        flows = self._flows.take(rows)
        for name, share in self._augment.items():
            flows = FLOWS[name](flows, rng, share) if name in FLOWS else flows
        return self._built(flows, self._label[rows], rng)

    def everything(self) -> tuple[Tensor, Tensor, NDArray[np.float64]]:
        """Return all inputs of all records as they are, their labels, and their weights.

        The inputs of one record share its weight; the mean is 1.
        """
        inputs = inputs_of(self._flows, self._spec)
        label = torch.from_numpy(self._label[inputs.rows])
        each = self._weights / np.maximum(np.bincount(inputs.rows, minlength=len(self)), 1)
        weights = each[inputs.rows]
        return inputs.take(np.arange(len(inputs.rows))), label, weights / weights.mean()

    def _built(
        self, flows: FlowBatch, label: Labels, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        inputs = inputs_of(flows, self._spec)
        which, some = one_of_each(inputs.rows, len(flows), rng)
        drawn = inputs.take(which)
        for name, share in self._augment.items():
            if name in BYTES:
                drawn = _bytes_changed(drawn, name, share, rng)
        return drawn.to(self._device), torch.from_numpy(label[some]).to(self._device)


def one_of_each(rows: Labels, count: int, rng: np.random.Generator) -> tuple[Labels, Labels]:
    """Return numbers of inputs, one for each record that has any, and these records."""
    inputs = np.bincount(rows, minlength=count)
    first = np.cumsum(inputs) - inputs
    which = first + (rng.random(count) * inputs).astype(np.int64)
    some = np.flatnonzero(inputs)
    return which[some], some


def sampling_weights(labelled: Labelled, task: Task, balance: Balance) -> NDArray[np.float64]:
    """Return (n,) weights with which records are drawn.

    Within a class, a group of n records weighs as the square root of n, times its set's factor.
    """
    weights = np.ones(len(labelled))
    if balance.groups != "none":
        path = labelled.of(lambda source: source.path)
        by_family = balance.groups == "family"
        family = labelled.of(lambda source: source.family if is_malicious(source) else "")
        groups = np.where((family != "") & by_family, family, path)
        _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        weights = 1 / np.sqrt(sizes[group])
    factors = np.array([balance.sets.get(source.set, 1.0) for source in labelled.sources])
    weights *= factors[labelled.source]
    if balance.classes != "none":
        bad = task.is_malicious(labelled.label).astype(np.int64)
        both = balance.classes == "malicious" and len(np.unique(bad)) == 2
        label = bad if both else labelled.label
        weights = weights / np.bincount(label, weights)[label]
    return weights


def _bytes_changed(inputs: Tensor, name: str, share: float, rng: np.random.Generator) -> Tensor:
    matrix = inputs.numpy()
    flat = matrix.ndim == 2
    changed = BYTES[name](matrix[:, None] if flat else matrix, rng, share)
    return torch.from_numpy(np.ascontiguousarray(changed[:, 0] if flat else changed))
