"""The state of training after an epoch, in one safetensors file; nothing is pickled.

There is no state of random generators in it: each epoch seeds them by its number, so an epoch does
the same whether the process is the one that did the epoch before or not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.optim import Optimizer

from mtc_sensor.errors import ConfigError

History = list[dict[str, float]]


@dataclass
class Progressed:
    """How far training has come."""

    epoch: int = 0
    """Epochs done."""
    history: History = field(default_factory=list)
    """Figures of each."""
    best_epoch: int = 0
    """Which had the best measure, from 1; 0 before the first."""
    best: dict[str, Tensor] = field(default_factory=dict)
    """Weights after it."""


def save(
    path: Path, fingerprint: str, state: Progressed, network: nn.Module, optimiser: Optimizer
) -> None:
    """Write a checkpoint that is there whole or not at all."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in state.best.items()}
    for index, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{key}": value for key, value in values.items()}
    said = {"epoch": state.epoch, "history": state.history, "best_epoch": state.best_epoch}
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    safetensors.torch.save_file(
        {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()},
        new,
        {"state": json.dumps(said), "fingerprint": fingerprint},
    )
    new.replace(path)


def load(path: Path, fingerprint: str, network: nn.Module, optimiser: Optimizer) -> Progressed:
    """Put a checkpoint's state into network and optimiser; without a file nothing happens.

    Raises ConfigError for a checkpoint of another recipe or data, and for what is none.
    """
    if not path.is_file():
        return Progressed()
    try:
        with safe_open(path, framework="pt") as file:
            told: Mapping[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if told["fingerprint"] != fingerprint:
            raise ConfigError(
                f"{path}: belongs to another recipe or manifest: go on with those, or train into "
                "another folder without --resume"
            )
        state = Progressed(**json.loads(told["state"]), best=_under(tensors, "best."))
        network.load_state_dict(_under(tensors, "network."))
        _restore(optimiser, _under(tensors, "optimiser."))
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as fault:
        raise ConfigError(
            f"{path}: not a checkpoint ({fault!s:.200}): delete it, or train without --resume"
        ) from fault
    return state


def _restore(optimiser: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    settings = optimiser.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({**settings, "state": state})


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def seed_epoch(seed: int, epoch: int, rank: int) -> None:
    """Seed torch for what an epoch draws by itself (dropout)."""
    torch.manual_seed((seed * 1_000_003 + epoch) * 1_009 + rank)
