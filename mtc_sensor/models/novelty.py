"""How far a record is from those that a model was trained on.

A record's features are what reaches the network's last layer; its neighbours are the features of
some training inputs. Novelty tells classes that the model has never seen, and it makes confidence
fall with distance. It is one of

- ``distance``: 1 - cosine similarity (0 to 2) to the k-th nearest neighbour.
- ``guided``: the energy (log-sum-exp of the logits) times the mean over the k nearest neighbours of
  similarity x energy, as a share of what is usual among the neighbours themselves: s becomes
  exp(-s), about 0.37 for what is well known and 1 for what is not known at all. It helps where
  features of few classes all point the same way, so that angles alone say little.

References
----------
Sun, Ming, Zhu, Li: "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022.
Park, Jung, Teoh: "Nearest Neighbor Guidance for Out-of-Distribution Detection", ICCV 2023.
Tomani, Waseda, Shen, Cremers: "Beyond In-Domain Scenarios: Robust Density-Aware Calibration", ICML
2023.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from mtc_sensor.models.schema import Calibration, NoveltyScore

MAX_NEIGHBOURS = 4096
"""Training inputs that a bundle keeps the features of, at most."""
_LEAST = 1e-9


class Neighbours:
    """Features of training inputs, to measure others by.

    Parameters
    ----------
    features
        (m, d) one row per training input.
    k
        Which neighbour counts: the k-th nearest, or the farthest where there are fewer.
    head
        The network's last layer, for novelty that is ``guided``; None for a ``distance``.
    """

    def __init__(self, features: Tensor, k: int, head: nn.Linear | None = None) -> None:
        features = features.float()
        self.features = functional.normalize(features, dim=1)
        self.k = min(k, len(features))
        self._head = head
        if head is not None:
            self._energy = _energy(head, features)
            self._usual = self._guidance(head, features).median().clamp(min=_LEAST)

    @classmethod
    def of(cls, network: nn.Module, features: Tensor, k: int, score: NoveltyScore) -> Neighbours:
        """Return neighbours to measure a network's records by.

        Raises ValueError if the network cannot give what the score needs.
        """
        if score == "distance":
            return cls(features, k)
        if not _has_head(network):
            raise ValueError(f"{score} needs the energies of a network, a forest has none")
        return cls(features, k, last_linear(network))

    def to(self, device: torch.device) -> None:
        """Move to the device where features will be; the network moves its own layers."""
        self.features = self.features.to(device)
        if self._head is not None:
            self._energy, self._usual = self._energy.to(device), self._usual.to(device)

    def novelty(self, features: Tensor) -> Tensor:
        """Return (B,) novelties in [0, 2] of (B, d) features."""
        features = features.float()
        if self._head is not None:
            usual = self._guidance(self._head, features) / self._usual
            return torch.exp(-usual).clamp(0, 2)
        return (1 - self._nearest(self._closeness(features))[:, -1]).clamp(0, 2)

    def _guidance(self, head: nn.Linear, features: Tensor) -> Tensor:
        nearest = self._nearest(self._closeness(features) * self._energy)
        return _energy(head, features) * nearest.mean(dim=1)

    def _closeness(self, features: Tensor) -> Tensor:
        return functional.normalize(features, dim=1) @ self.features.T

    def _nearest(self, closeness: Tensor) -> Tensor:
        return closeness.topk(self.k, dim=1).values


def _energy(head: nn.Linear, features: Tensor) -> Tensor:
    """(B,) energies; none is below 0, else two unlikely factors would make a likely product."""
    with torch.no_grad():
        return torch.logsumexp(head(features), dim=1).clamp(min=0)


def last_linear(network: nn.Module) -> nn.Linear:
    """Return the layer that gives the logits: the last that the network declares."""
    return [module for module in network.modules() if isinstance(module, nn.Linear)][-1]


def feature_width(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Return how many features `with_features` gives for inputs of `shape`."""
    return last_linear(network).in_features if _has_head(network) else math.prod(shape)


def _has_head(network: nn.Module) -> bool:
    """Tell whether a linear layer gives the logits; a forest has none."""
    return any(isinstance(module, nn.Linear) for module in network.modules())


def with_features(network: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return a network's (B, labels) logits and (B, d) what its last linear layer is given.

    Of a model without such layers (a forest) the features are its inputs, made flat.
    """
    if not _has_head(network):
        return network(inputs), inputs.flatten(1).float()
    seen: list[Tensor] = []
    hook = last_linear(network).register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        return network(inputs), seen[0]
    finally:
        hook.remove()


def calibrated(
    probabilities: NDArray[np.float32], novelty: NDArray[np.float32], how: Calibration
) -> NDArray[np.float32]:
    """Return (n, labels) corrected probabilities of records; a NaN in a row makes all of it NaN."""
    log = np.log(np.maximum(probabilities.astype(np.float64), _LEAST))
    inverse = np.exp(how.gain - (how.fade * novelty.astype(np.float64) if how.fade else 0.0))
    scores = log * np.reshape(inverse, (-1, 1)) + np.array(how.bias)
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    corrected: NDArray[np.float32] = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    return corrected
