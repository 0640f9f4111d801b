"""Fitting a fusion: a logistic regression over what its members say, shrunk towards nothing.

Or no fitting: adding up log odds takes members for independent, which calibration corrects.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mtc_sensor.errors import ConfigError
from mtc_sensor.features.spec import FusionSpec, Member
from mtc_sensor.fusion import Members
from mtc_sensor.inference import Model
from mtc_sensor.models.bundle import CONFIG
from mtc_sensor.models.fusion import Fusion
from mtc_sensor.models.weights import sha256_of
from mtc_sensor.training.data import Data
from mtc_sensor.training.recipe import Recipe
from mtc_sensor.training.sampler import sampling_weights

_SHRINK = 1e-3


def fusion_spec(members: tuple[Model, ...]) -> FusionSpec:
    """Return the input of a fusion of these bundles as they are on disk."""
    return FusionSpec(
        members=tuple(
            Member(
                name=model.name,
                sha256=sha256_of((model.bundle.path / CONFIG).read_bytes()),
                values=model.bundle.config.evidence_width,
            )
            for model in members
        )
    )


def fit_fusion(recipe: Recipe, data: Data, spec: FusionSpec) -> nn.Module:
    """Return the likeliest combination of the members on the data's training records."""
    torch.manual_seed(recipe.seed)
    network = Fusion(spec.shape, len(data.task.labels))
    nn.init.zeros_(network.output.weight)
    if recipe.equal:
        return _summing(network, spec, data)
    evidence = torch.from_numpy(Members(data.members).evidence(data.train.flows))
    label = torch.from_numpy(data.train.label)
    drawn = sampling_weights(data.train, data.task, recipe.balance)
    weights = torch.from_numpy(drawn / drawn.sum()).float()
    solver = torch.optim.LBFGS(network.parameters(), max_iter=500, line_search_fn="strong_wolfe")

    def step() -> Tensor:
        solver.zero_grad()
        each = functional.cross_entropy(network(evidence), label, reduction="none")
        loss = (each * weights).sum() + _SHRINK * (network.output.weight**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    solver.step(step)  # type: ignore[no-untyped-call]
    return network


def _summing(network: Fusion, spec: FusionSpec, data: Data) -> Fusion:
    """Let the malicious label's logit be the sum of the members' log odds of malice."""
    bad = data.task.is_malicious(np.arange(len(data.task.labels)))
    if bad.sum() != 1 or any(member.values != 1 for member in spec.members):
        raise ConfigError("equal: takes a task of one malicious label, and members that know it")
    nn.init.zeros_(network.output.bias)
    said = 1 + 2 * np.arange(len(spec.members))
    with torch.no_grad():
        network.output.weight[int(bad.argmax()), said] = 1.0
    return network
