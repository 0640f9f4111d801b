"""Fitting a network: weighted sampling, AdamW, one learning-rate cycle, deterministic by seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

Inputs = NDArray[Any]
Augment = Callable[[Inputs, np.random.Generator], Inputs]


@dataclass(frozen=True)
class Recipe:
    """How a network is fitted."""

    epochs: int
    """Passes over as many samples as there are; they are drawn with replacement."""
    batch: int = 256
    rate: float = 2e-3
    """Peak learning rate."""
    decay: float = 1e-4
    smoothing: float = 0.01
    """Label smoothing: labels are per capture, and a capture holds other flows too."""
    seed: int = 1


def fit(
    make: Callable[[], nn.Module],
    inputs: Inputs,
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    recipe: Recipe,
    augment: Augment | None = None,
) -> tuple[nn.Module, list[float]]:
    """Fit the network that `make` makes; return it in evaluation mode, and the loss of every step.

    `weights` are (n,) sampling probabilities up to a factor.
    """
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    network = make().train()
    steps = max(1, recipe.epochs * len(inputs) // recipe.batch)
    optimiser = torch.optim.AdamW(network.parameters(), recipe.rate, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=steps)
    losses = []
    for _ in range(steps):
        rows = rng.choice(len(inputs), recipe.batch, p=weights / weights.sum())
        batch = inputs[rows] if augment is None else augment(inputs[rows], rng)
        logits: Tensor = network(torch.from_numpy(batch))
        target = torch.from_numpy(labels[rows])
        loss = functional.cross_entropy(logits, target, label_smoothing=recipe.smoothing)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
    return network.eval(), losses


def logits_of(network: nn.Module, inputs: Inputs, batch: int = 512) -> NDArray[np.float32]:
    """Return (n, labels) logits."""
    with torch.inference_mode():
        parts = [
            network(torch.from_numpy(inputs[start : start + batch])).numpy()
            for start in range(0, len(inputs), batch)
        ]
    return np.concatenate(parts)


def balanced(labels: NDArray[np.int64], groups: NDArray[np.str_]) -> NDArray[np.float64]:
    """Weigh samples so that classes count the same and large groups do not drown small ones.

    Within a class, a group of n samples weighs as the square root of n.
    """
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    weights = 1 / np.sqrt(sizes[group])
    totals = np.bincount(labels, weights)
    balanced_weights: NDArray[np.float64] = weights / totals[labels]
    return balanced_weights
