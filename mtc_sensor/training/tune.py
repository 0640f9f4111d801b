"""Search of a recipe's space for what is best on the validation records (optuna, extra `tune`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtc_sensor.errors import ConfigError
from mtc_sensor.training.data import Data
from mtc_sensor.training.loop import Told
from mtc_sensor.training.ranks import Ranks
from mtc_sensor.training.recipe import Recipe, Value
from mtc_sensor.training.trainer import train

TRIALS = "trials"
"""Folder with a bundle for each trial."""


def search(
    recipe: Recipe, data: Data, out: Path, ranks: Ranks, trials: int, told: Told
) -> Mapping[str, Value]:
    """Try settings of the recipe's ``tune`` keys; return those with the best `Recipe.measure`.

    What is chosen on validation records looks better there than it is; run.json says that it was
    chosen. Data is read once, so keys that change it (task, split, input.kind) are not for tuning.

    Raises
    ------
    ConfigError
        Nothing to search, optuna is not installed, or several processes.
    """
    if not recipe.tune:
        raise ConfigError(f"recipe {recipe.name}: key tune is missing: say what --tune may change")
    if ranks.world > 1:
        raise ConfigError("--tune: not under torchrun; train with the best settings there")
    try:
        import optuna  # noqa: PLC0415 - extra `tune`
    except ImportError as fault:
        raise ConfigError("--tune needs optuna: pip install 'mtc-sensor[tune]'") from fault
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial: Any) -> float:
        changes = {key: _suggested(trial, key, space) for key, space in recipe.tune.items()}
        folder = out / TRIALS / f"{trial.number + 1:03d}"
        trained = train(recipe.changed(changes), data, folder, ranks, told=told)
        assert trained is not None
        return trained.measure(recipe.measure)

    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=recipe.seed)
    )
    study.optimize(objective, n_trials=trials)
    best: Mapping[str, Value] = study.best_params
    return best


def _suggested(trial: Any, key: str, space: list[Value]) -> Value:
    """Draw from [low, high] of numbers (the logarithm, if high is 10 times low), or choices."""
    value: Value
    numbers = [v for v in space if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if len(space) == 2 and len(numbers) == 2:
        low, high = numbers
        log = bool(low > 0 and high >= 10 * low)
        if all(isinstance(number, int) for number in numbers):
            value = trial.suggest_int(key, low, high, log=log)
        else:
            value = trial.suggest_float(key, low, high, log=log)
        return value
    value = trial.suggest_categorical(key, space)
    return value
