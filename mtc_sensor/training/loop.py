"""Fitting a network: weighted sampling, AdamW, one learning-rate cycle, deterministic by seed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mtc_sensor.training import checkpoint, metrics
from mtc_sensor.training.checkpoint import History, Progressed
from mtc_sensor.training.ranks import Ranks
from mtc_sensor.training.recipe import Recipe
from mtc_sensor.training.sampler import Sampler

Labels = NDArray[np.int64]
Told = Callable[[int, int, dict[str, float]], None]
"""Told after each epoch: its number, of how many, and its figures."""
Validate = Callable[[], dict[str, float]]
"""Returns figures of the network on the validation records."""

_WARM_UP = 0.3


class Fitting:
    """Fits a network by a recipe, epoch by epoch.

    Parameters
    ----------
    network
        On the device of `ranks`; it is left in evaluation mode with the weights that are best.
    sampler
        Gives the batches.
    validate
        Asked after each epoch, with the network in evaluation mode.
    recipe
        Says how.
    ranks
        Which of the processes this is.
    """

    def __init__(
        self,
        network: nn.Module,
        sampler: Sampler,
        validate: Validate,
        recipe: Recipe,
        ranks: Ranks,
    ) -> None:
        self._network, self._sampler, self._validate = network, sampler, validate
        self._recipe, self._ranks = recipe, ranks
        self._batch = max(2, recipe.batch // ranks.world)
        self._steps = max(1, len(sampler) // recipe.batch)
        self._optimiser = torch.optim.AdamW(
            network.parameters(), recipe.rate, weight_decay=recipe.decay
        )

    def run(self, file: Path, fingerprint: str, *, resume: bool, told: Told) -> Progressed:
        """Train to the end, writing a checkpoint after every epoch; return how it went.

        Raises ConfigError if `resume` finds a checkpoint of something else.
        """
        state = Progressed()
        if resume:
            state = checkpoint.load(file, fingerprint, self._network, self._optimiser)
        shared = self._ranks.share(self._network)
        stop = self._over(state)
        while not self._ranks.agree(stop):
            began = time.perf_counter()
            figures = self._epoch(shared, state.epoch)
            if self._ranks.leads:
                self._network.eval()
                figures |= self._validate()
                figures["seconds"] = round(time.perf_counter() - began, 3)
                self._note(state, figures)
                checkpoint.save(file, fingerprint, state, self._network, self._optimiser)
                told(state.epoch, self._recipe.epochs, figures)
            else:
                state.epoch += 1
            stop = self._over(state)
        if self._recipe.patience and state.best:
            self._network.load_state_dict(state.best)
        self._network.eval()
        return state

    def _epoch(self, network: nn.Module, epoch: int) -> dict[str, float]:
        recipe, device = self._recipe, self._ranks.device
        checkpoint.seed_epoch(recipe.seed, epoch, self._ranks.rank)
        rng = np.random.default_rng((recipe.seed, epoch, self._ranks.rank))
        network.train()
        total, right, seen = 0.0, 0, 0
        for step in range(self._steps):
            inputs, label = self._sampler.draw(rng, self._batch)
            rate = cycled(epoch * self._steps + step, recipe.epochs * self._steps) * recipe.rate
            for group in self._optimiser.param_groups:
                group["lr"] = rate
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                logits: Tensor = network(inputs)
            loss = functional.cross_entropy(logits.float(), label, label_smoothing=recipe.smoothing)
            self._optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
            total += float(loss.detach()) * len(label)
            right += int((logits.argmax(1) == label).sum())
            seen += len(label)
        return {"loss": round(total / seen, 6), "train_accuracy": round(right / seen, 6)}

    def _note(self, state: Progressed, figures: dict[str, float]) -> None:
        state.epoch += 1
        state.history.append(figures)
        if self._recipe.patience and (not state.best or self._is_better(state)):
            state.best_epoch = state.epoch
            weights = self._network.state_dict().items()
            state.best = {name: value.detach().clone() for name, value in weights}

    def _is_better(self, state: Progressed) -> bool:
        measure = f"val_{self._recipe.measure}"
        new, old = state.history[-1][measure], state.history[state.best_epoch - 1][measure]
        return not new <= old

    def _over(self, state: Progressed) -> bool:
        waited = state.epoch - state.best_epoch
        impatient = 0 < self._recipe.patience <= waited and state.best_epoch > 0
        return state.epoch >= self._recipe.epochs or impatient


def cycled(step: int, steps: int) -> float:
    """Return the learning rate of a step, as a share of its peak: cosines up and down.

    Smith, Topin: "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning
    Rates", 2018.
    """
    at = (step + 1) / steps
    if at < _WARM_UP:
        return _between(1 / 25, 1, at / _WARM_UP)
    return _between(1, 1e-4, (at - _WARM_UP) / (1 - _WARM_UP))


def _between(first: float, last: float, at: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * at)) / 2


def figures_of(
    probabilities: NDArray[np.float32], label: Labels, malicious: NDArray[np.bool_]
) -> dict[str, float]:
    """Return figures of (n, labels) probabilities; rows that are not finite are left out."""
    finite = np.isfinite(probabilities).all(axis=1)
    p, label = probabilities[finite].astype(np.float64), label[finite]
    best = p.argmax(axis=1)
    likely = np.maximum(p[np.arange(len(label)), label], 1e-9)
    figures = {
        "val_loss": float(-np.log(likely).mean()),
        "val_accuracy": float((best == label).mean()),
        "val_macro_f1": metrics.macro_f1(best, label, p.shape[1]),
    }
    if malicious.any():
        figures["val_auroc"] = metrics.auroc(p[:, malicious].sum(axis=1), malicious[label])
    return {name: round(value, 6) for name, value in figures.items()}


def pretrain(network: nn.Module, sampler: Sampler, recipe: Recipe, device: torch.device) -> History:
    """Train the layers of a `StackedAutoencoder` one by one to give back what they are given."""
    losses: History = []
    layers = list(network.get_submodule("layers").children())
    for depth, layer in enumerate(layers):
        width = next(layer.parameters()).shape
        decoder = nn.Linear(width[0], width[1]).to(device)
        parameters = [*layer.parameters(), *decoder.parameters()]
        optimiser = torch.optim.AdamW(parameters, 1e-3)
        for epoch in range(recipe.pretrain):
            rng = np.random.default_rng((recipe.seed, depth, epoch, 7))
            checkpoint.seed_epoch(recipe.seed, -1 - depth * recipe.pretrain - epoch, 0)
            total = 0.0
            for _ in range(steps := max(1, len(sampler) // recipe.batch)):
                inputs, _ = sampler.draw(rng, recipe.batch)
                total += _reconstruct(network, decoder, inputs, depth, optimiser)
            losses.append({"layer": depth + 1, "epoch": epoch + 1, "loss": total / steps})
    return losses


def _reconstruct(
    network: nn.Module, decoder: nn.Linear, inputs: Tensor, depth: int, optimiser: torch.optim.AdamW
) -> float:
    with torch.no_grad():
        given: Tensor = network.encode(inputs, depth)  # type: ignore[operator]
    code: Tensor = list(network.get_submodule("layers").children())[depth](given)
    loss = functional.mse_loss(decoder(code), given)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return float(loss.detach())
