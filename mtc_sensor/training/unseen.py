"""How well a recipe does on families and publishers that it was not trained on.

It is trained several times, each time without some of them (`splits.leave_out`), and asked about
these. Nothing is calibrated or chosen on what it is asked about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.errors import ConfigError
from mtc_sensor.inference import Model
from mtc_sensor.models.bundle import load_bundle
from mtc_sensor.training import splits
from mtc_sensor.training.baselines import BASELINES
from mtc_sensor.training.data import Data, judged, read_records
from mtc_sensor.training.metrics import Ranking
from mtc_sensor.training.ranks import Ranks
from mtc_sensor.training.recipe import Recipe
from mtc_sensor.training.session import Result, Session
from mtc_sensor.training.splits import Unseen, size_sequences
from mtc_sensor.training.trainer import fit

UNSEEN = "unseen"
"""Names of the results: unseen.json and unseen.md."""
_RATES = (0.01, 0.001)

Scores = NDArray[np.float64]


def ask_unseen(
    recipe: Recipe, members: Sequence[Recipe], session: Session, by: Unseen, out: Path
) -> Result:
    """Train a detector once per fold, and measure it and the baselines on what was left out.

    Parameters
    ----------
    recipe
        With malicious labels; of a fusion only one that adds its members up.
    members
        Recipes of a fusion's members, of the same task.
    session
        Its manifest and store.
    by
        What of the malicious rows is left out together.
    out
        Folder for the folds' bundles and the results.

    Returns
    -------
    Result
        A row for each fold, and one for all records by the model that has not seen them.

    Raises
    ------
    ConfigError
        The recipe is none of a detector, or its members are fitted to validation records.
    DataError
        There are too few families or publishers.
    """
    _check(recipe, members, session.ranks)
    inputs = [member.input for member in members if member.input is not None]
    task, labelled = read_records(
        recipe, inputs, session.manifest, session.store, session.workers, session.read
    )
    bad = task.is_malicious(labelled.label)
    if not bad.any():
        raise ConfigError(f"recipe {recipe.name}: task {task.name} has no malicious records")
    rows: list[dict[str, object]] = []
    seen: list[tuple[dict[str, Scores], NDArray[np.bool_]]] = []
    folds = splits.leave_out(labelled, bad, by, recipe.same)
    for number, (left, split) in enumerate(folds, 1):
        data = Data(
            task, labelled.take(split.train), labelled.take(split.val), session.manifest.sha256
        )
        model = _trained(recipe, members, data, out / f"fold-{number}", session)
        seen.append((_scores(model, data), bad[split.val]))
        rows.append({"fold": str(number), **_figures(*seen[-1]), "left_out": ", ".join(left)})
    names = list(seen[0][0])
    pooled = {name: np.concatenate([scores[name] for scores, _ in seen]) for name in names}
    every = np.concatenate([positive for _, positive in seen])
    rows.append({"fold": "all", **_figures(pooled, every), "left_out": ""})
    result = Result(rows)
    result.write(out, UNSEEN)
    return result


def _check(recipe: Recipe, members: Sequence[Recipe], ranks: Ranks) -> None:
    if ranks.world > 1:
        raise ConfigError("leaving families out runs in one process: call it without torchrun")
    if members and not recipe.equal:
        raise ConfigError(
            f"recipe {recipe.name}: its weights are fitted to validation records, which are left "
            "out here: set equal: true"
        )
    if strange := [member.name for member in members if member.task != recipe.task]:
        raise ConfigError(f"recipe {recipe.name}: member {strange[0]} is of another task")


def _trained(
    recipe: Recipe, members: Sequence[Recipe], data: Data, out: Path, session: Session
) -> Model:
    """Train a recipe, after its members; return it as it is without a calibration."""
    models = tuple(_trained(one, (), _part(one, data), out / one.name, session) for one in members)
    recipe = recipe.model_copy(update={"patience": 0})  # or what is asked about chose the epoch
    fit(recipe, replace(data, members=models), out, session.ranks, told=session.told)
    return Model(load_bundle(out), "cpu")


def _part(member: Recipe, data: Data) -> Data:
    """Return the records that a member judges."""
    assert member.input is not None
    train, val = (
        side.take(judged(member, [member.input], side.flows)) for side in (data.train, data.val)
    )
    return replace(data, train=train, val=val)


def _scores(model: Model, data: Data) -> dict[str, Scores]:
    """Return (n,) probabilities of malice: the model's, and each baseline's."""
    probabilities = np.nan_to_num(model.predict(data.val.flows).astype(np.float64), nan=0.5)
    scores = {"model": probabilities[:, model.policy.is_malicious].sum(axis=1)}
    known, asked = size_sequences(data.train.flows), size_sequences(data.val.flows)
    label = data.task.is_malicious(data.train.label).astype(np.int64)
    for name, baseline in BASELINES.items():
        scores[name] = baseline(known, label, asked, 2)[:, 1]
    return scores


def _figures(scores: dict[str, Scores], positive: NDArray[np.bool_]) -> dict[str, object]:
    figures: dict[str, object] = {
        "benign": int((~positive).sum()),
        "malicious": int(positive.sum()),
    }
    for name, score in scores.items():
        ranking = Ranking(score, positive)
        figures[f"{name}_auroc"] = round(ranking.auroc(), 4)
        for rate in _RATES:
            figures[f"{name}_tpr@{rate:g}"] = round(ranking.detection(rate), 4)
    return figures
