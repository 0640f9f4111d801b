"""What a recipe trains on and is measured on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.errors import DataError
from mtc_sensor.flow import FlowBatch, Kind
from mtc_sensor.training import splits
from mtc_sensor.training.manifest import Manifest
from mtc_sensor.training.recipe import Recipe
from mtc_sensor.training.store import Progress, Store
from mtc_sensor.training.tasks import Labelled, Task, load, task_named


@dataclass(frozen=True, eq=False)
class Data:
    """Records on two sides; labels are those of `task`."""

    task: Task
    train: Labelled
    val: Labelled
    manifest: str
    """SHA-256 of the manifest."""


def read_data(
    recipe: Recipe,
    manifest: Manifest,
    store: Path,
    workers: int = 1,
    progress: Progress | None = None,
) -> Data:
    """Return the records that a recipe is about, split.

    Labels without a training record are left out, and so are those that the recipe names.

    Raises
    ------
    DataError
        No record is left for a side.
    """
    task = _with_sets(task_named(recipe.task, manifest), recipe.sets)
    settings = FlowSettings(
        head_bytes=max(FlowSettings().head_bytes, recipe.input.head_bytes),
        tokens=recipe.input.reads_tokens,
    )
    labelled = load(task, manifest, Store(store, settings), workers, progress)
    labelled = labelled.take(_judged(recipe, labelled.flows))
    if recipe.protocol == "paper":
        split = splits.paper(labelled, recipe.seed)
    else:
        split = splits.honest(labelled, recipe.split, recipe.same, seed=recipe.seed)
    train, val = labelled.take(split.train), labelled.take(split.val)
    train = train.take(~np.isin(train.label, [task.labels.index(x) for x in recipe.leave_out]))
    present = np.unique(train.label)
    train = _renumbered(train, present)
    if recipe.per_class is not None:
        train = train.take(_some_of_each(train.label, recipe.per_class, recipe.seed))
    labels = tuple(task.labels[label] for label in present)
    malicious = tuple(label for label in task.malicious if label in labels)
    task = replace(task, labels=labels, malicious=malicious)
    val = _renumbered(val, present)
    if len(labels) < 2 or not len(val):
        raise DataError(
            f"task {task.name}: {len(labels)} labels to train on and {len(val)} records to "
            "validate: two labels and some records are the least; check sets, judges and split"
        )
    return Data(task, train, val, manifest.sha256)


def _with_sets(task: Task, sets: list[str]) -> Task:
    return replace(task, sets=tuple(sets)) if sets else task


def _judged(recipe: Recipe, flows: FlowBatch) -> NDArray[np.bool_]:
    """(n,) records that the model will be asked about."""
    kinds = [Kind[name.upper()] for name in recipe.judges.kinds]
    judged = np.isin(flows.kind, kinds) & (flows.packets >= recipe.judges.min_packets)
    if recipe.input.head_bytes:
        judged &= flows.heads > 0
    if recipe.input.reads_tokens:
        judged &= np.diff(flows.token_offsets) > 0
    return judged


def _renumbered(labelled: Labelled, present: NDArray[np.int64]) -> Labelled:
    """Keep the rows of the labels `present`, and count labels among these."""
    kept = labelled.take(np.isin(labelled.label, present))
    return replace(kept, label=np.searchsorted(present, kept.label))


def _some_of_each(label: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    order = np.random.default_rng(seed).permutation(len(label))
    chosen = [order[label[order] == one][:most] for one in np.unique(label)]
    return np.sort(np.concatenate(chosen))
