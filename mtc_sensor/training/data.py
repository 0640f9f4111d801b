"""What a recipe trains on and is measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._yaml import nearest
from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.errors import DataError
from mtc_sensor.features.spec import FeatureSpec
from mtc_sensor.flow import FlowBatch, Kind
from mtc_sensor.fusion import Members
from mtc_sensor.inference import Model
from mtc_sensor.models.bundle import find_member, load_bundle
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
    members: tuple[Model, ...] = ()
    """The bundles that a fusion asks."""


def read_data(
    recipe: Recipe,
    manifest: Manifest,
    store: Path,
    out: Path,
    workers: int = 1,
    progress: Progress | None = None,
) -> Data:
    """Return the records that a recipe is about, split.

    Labels without a training record are left out, and so are those that the recipe names. A fusion
    that fits weights is trained on half of the validation captures, for its members have seen the
    training records, and measured on the other half.

    Parameters
    ----------
    recipe, manifest
        What to train, on what.
    store
        Folder of records that were read once.
    out
        The bundle's folder; members of a fusion are looked for in it, beside it, and among the
        shipped bundles.
    workers, progress
        See `Store.records`.

    Raises
    ------
    DataError
        No record is left for a side.
    BundleError
        A member of a fusion cannot be used.
    """
    members = tuple(Model(load_bundle(find_member(out, name)), "cpu") for name in recipe.members)
    inputs = [member.bundle.spec for member in members]
    task, labelled = read_records(recipe, inputs, manifest, store, workers, progress)
    if members:
        labelled = labelled.take(Members(members).rows(labelled.flows))
    split = _split(recipe, labelled)
    if members and not recipe.equal:
        held = labelled.take(split.val)
        halves = splits.honest(held, "capture", recipe.same, share=0.5, seed=recipe.seed)
        split = splits.Split(split.val[halves.train], split.val[halves.val])
    return _labelled(recipe, task, labelled, split, manifest.sha256, members)


def read_records(
    recipe: Recipe,
    inputs: Sequence[FeatureSpec],
    manifest: Manifest,
    store: Path,
    workers: int = 1,
    progress: Progress | None = None,
) -> tuple[Task, Labelled]:
    """Return a recipe's task and all of its records that can be judged, on no side yet.

    `inputs` are those of a fusion's members, each enough; other recipes have their own. The other
    parameters are those of `read_data`.
    """
    inputs = [recipe.input] if recipe.input is not None else inputs
    usual = FlowSettings(min_packets=min(FlowSettings().min_packets, recipe.judges.min_packets))
    width = max([usual.head_bytes, *(needs.head_bytes for needs in inputs)])
    tokens = any(needs.reads_tokens for needs in inputs)
    kept = Store(store, replace(usual, head_bytes=width, tokens=tokens))
    task = _with_sets(task_named(recipe.task, manifest, kept, workers, progress), recipe.sets)
    labelled = load(task, manifest, kept, workers, progress)
    return task, labelled.take(judged(recipe, inputs, labelled.flows))


def judged(recipe: Recipe, inputs: Sequence[FeatureSpec], flows: FlowBatch) -> NDArray[np.bool_]:
    """(n,) records that a model of the recipe is asked about, and that give one of the inputs."""
    kinds = [Kind[name.upper()] for name in recipe.judges.kinds]
    asked = np.isin(flows.kind, kinds) & (flows.packets >= recipe.judges.min_packets)
    some: NDArray[np.bool_] = np.any([_there(needs, flows) for needs in inputs], axis=0)
    return asked & some


def _there(needs: FeatureSpec, flows: FlowBatch) -> NDArray[np.bool_]:
    there = np.ones(len(flows), np.bool_)
    if needs.head_bytes:
        there &= flows.heads > 0
    if needs.reads_tokens:
        there &= np.diff(flows.token_offsets) > 0
    return there


def _labelled(
    recipe: Recipe,
    task: Task,
    labelled: Labelled,
    split: splits.Split,
    manifest: str,
    members: tuple[Model, ...],
) -> Data:
    """Leave labels out, and number those that are left."""
    if strange := set(recipe.leave_out) - set(task.labels):
        raise DataError(
            f"recipe {recipe.name}: leave_out: {min(strange)!r} is no label of task {task.name}: "
            f"{nearest(min(strange), task.labels)}"
        )
    train, val = labelled.take(split.train), labelled.take(split.val)
    train = train.take(~np.isin(np.array(task.labels)[train.label], recipe.leave_out))
    present = np.unique(train.label)
    train, val = _renumbered(train, present), _renumbered(val, present)
    if recipe.per_class is not None:
        train = train.take(_some_of_each(train.label, recipe.per_class, recipe.seed))
    labels = tuple(task.labels[label] for label in present)
    malicious = tuple(label for label in task.malicious if label in labels)
    if len(labels) < 2 or not len(val):
        raise DataError(
            f"task {task.name}: {len(labels)} labels to train on and {len(val)} records to "
            "validate: two labels and some records are the least; check sets, judges and split"
        )
    return Data(replace(task, labels=labels, malicious=malicious), train, val, manifest, members)


def _split(recipe: Recipe, labelled: Labelled) -> splits.Split:
    if recipe.protocol == "paper":
        return splits.paper(labelled, recipe.seed)
    return splits.honest(labelled, recipe.split, recipe.same, seed=recipe.seed)


def _with_sets(task: Task, sets: list[str]) -> Task:
    return replace(task, sets=tuple(sets)) if sets else task


def _renumbered(labelled: Labelled, present: NDArray[np.int64]) -> Labelled:
    """Keep the rows of the labels `present`, and count labels among these."""
    kept = labelled.take(np.isin(labelled.label, present))
    return replace(kept, label=np.searchsorted(present, kept.label))


def _some_of_each(label: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    order = np.random.default_rng(seed).permutation(len(label))
    chosen = [order[label[order] == one][:most] for one in np.unique(label)]
    return np.sort(np.concatenate(chosen))
