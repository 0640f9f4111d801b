"""Train the shipped `flowpic` bundle.

    python -m mtc_sensor.training.flowpic --data DATA --out models/flowpic

Trains on the files that the manifest calls train, calibrates on those it calls val, prints the
baselines' scores with ``--compare``, and writes the bundle.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.features.flowpic import flowpics
from mtc_sensor.flow import FlowBatch
from mtc_sensor.inference import mean_by_row
from mtc_sensor.models.bundle import save_bundle
from mtc_sensor.models.networks import build_network
from mtc_sensor.training import calibration, metrics
from mtc_sensor.training.augment_flows import augment_flows
from mtc_sensor.training.baselines import boosted_trees, nearest_neighbour
from mtc_sensor.training.cards import card
from mtc_sensor.training.categories import LABELS, MIN_PACKETS, SETS, SPEC, read_task
from mtc_sensor.training.fit import Recipe, balanced, fit, logits_of
from mtc_sensor.training.manifest import read_manifest
from mtc_sensor.training.splits import first_of_each
from mtc_sensor.training.tasks import Labelled

NETWORK = "flowpic-mini"
RECIPE = Recipe(epochs=12, smoothing=0.05)
VARIANTS = 8
"""Augmented pictures of every record, beside its own."""
MIN_SEEN = 5
"""Fewest packets of a picture to train on; a record's later windows may hold one or two."""
ASSERTED_RIGHT = 0.9
"""Share of asserted categories that shall be right on the validation files."""

Pictures = NDArray[np.int16]
Labels = NDArray[np.int64]
Rows = NDArray[np.int64]
Scores = dict[str, float]


def train_bundle(data: Path, out: Path, baselines: bool = False) -> None:
    """Train, calibrate, measure, and write the bundle."""
    task = read_task(data)
    task, whole = whole_pictures(task)
    train, val = split(task, whole)
    labels = task.label[val]
    if baselines:
        _compare(whole[train], task.label[train], whole[val], labels)
    network = train_network(task.take(train))
    pictures, rows = draw(task.take(val).flows)
    logits = logits_of(network, pictures)
    temperature = calibration.fit_temperature(logits, labels[rows])
    each = calibration.softmax(logits, temperature)
    probabilities = mean_by_row(each, rows, len(val)).astype(np.float64)
    unknown_below = sure_enough(probabilities, labels, task.of(lambda s: s.set)[val])
    scores = validation_scores(task, val, probabilities, unknown_below)
    scores |= {"train-records": len(train), "val-records": len(val)}
    config = _config(data, temperature, unknown_below, scores)
    save_bundle(out, config, network, _reference(), card("flowpic", scores))


def draw(flows: FlowBatch) -> tuple[Pictures, Rows]:
    """Return all pictures of the records, and the record that each shows."""
    pictures = flowpics(flows, SPEC)
    return pictures.images.astype(np.int16), pictures.rows


def whole_pictures(task: Labelled) -> tuple[Labelled, Pictures]:
    """Return the records that give a picture of their whole block, and these (n, 2, 32, 32).

    They tell duplicates, and are what the baselines see.
    """
    block = SPEC.model_copy(update={"window_s": FlowSettings().block_s})
    pictures = flowpics(task.flows, block)
    return task.take(pictures.rows), pictures.images.astype(np.int16)


def split(task: Labelled, pictures: Pictures) -> tuple[Rows, Rows]:
    """Return rows to train and to validate on: each picture once, and never in both."""
    training = task.of(lambda source: source.split) == "train"
    train, val = np.flatnonzero(training), np.flatnonzero(~training)
    known = [pictures[row].tobytes() for row in train]
    train = train[first_of_each(known)]
    return train, val[first_of_each([pictures[row].tobytes() for row in val], known)]


def train_network(task: Labelled) -> nn.Module:
    """Fit the network on the records' pictures and on `VARIANTS` augmentations of them."""
    rng = np.random.default_rng(RECIPE.seed)
    varied = (augment_flows(task.flows, MIN_PACKETS, rng) for _ in range(VARIANTS))
    drawn = [draw(flows) for flows in (task.flows, *varied)]
    pictures, row = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    seen = pictures.sum(axis=(1, 2, 3)) >= MIN_SEEN
    pictures, row = pictures[seen], row[seen]
    make = partial(build_network, NETWORK, SPEC.shape, len(LABELS), {})
    weights = balanced(task.label[row], task.of(lambda source: source.path)[row])
    return fit(make, pictures, task.label[row], weights, RECIPE)[0]


def sure_enough(
    probabilities: NDArray[np.float64], labels: Labels, sets: NDArray[np.str_]
) -> float:
    """Return the lowest probability from which on `ASSERTED_RIGHT` of the best labels are right.

    Every data set counts the same, however many records it has.
    """
    _, which, sizes = np.unique(sets, return_inverse=True, return_counts=True)
    best, right = probabilities.max(1), probabilities.argmax(1) == labels
    order = np.argsort(-best)
    weights = 1 / sizes[which][order]
    enough = np.cumsum(right[order] * weights) / np.cumsum(weights) >= ASSERTED_RIGHT
    return round(float(best[order][np.flatnonzero(enough)[-1]]), 4)


def validation_scores(
    task: Labelled, rows: Rows, probabilities: NDArray[np.float64], unknown_below: float
) -> Scores:
    """Return the figures of the card, over all validation records and by data set."""
    labels, best = task.label[rows], probabilities.argmax(1)
    right, sure = best == labels, probabilities.max(1) >= unknown_below
    sets = task.of(lambda source: source.set)[rows]
    by_set = {f"accuracy-{name}": _share(right[sets == name]) for name in SETS}
    asserted = {f"asserted-{name}": _share(sure[sets == name]) for name in SETS}
    asserted |= {f"asserted-right-{name}": _share(right[sure & (sets == name)]) for name in SETS}
    return {
        "accuracy": _share(right),
        "macro-f1": round(metrics.macro_f1(best, labels, len(LABELS)), 4),
        "unknown-below": unknown_below,
        "asserted": _share(sure),
        "asserted-right": _share(right[sure]),
        "calibration-error": round(metrics.calibration_error(probabilities, labels), 4),
        **by_set,
        **asserted,
    }


def _compare(train: Pictures, labels: Labels, val: Pictures, val_labels: Labels) -> None:
    for baseline in (nearest_neighbour, boosted_trees):
        best = baseline(train, labels, val, len(LABELS)).argmax(1)
        f1 = metrics.macro_f1(best, val_labels, len(LABELS))
        click.echo(f"{baseline.__name__}: accuracy {_share(best == val_labels)} macro-F1 {f1:.4f}")


def _share(hits: NDArray[np.bool_]) -> float:
    return round(float(hits.mean()), 4) if len(hits) else 0.0


def _reference() -> torch.Tensor:
    """Make inputs for `verify`: sparse counts of no meaning."""
    counts = np.random.default_rng(0).poisson(0.02, (16, *SPEC.shape))
    return torch.from_numpy(counts.astype(np.uint8))


def _config(
    data: Path, temperature: float, unknown_below: float, scores: Scores
) -> dict[str, object]:
    return {
        "format": 1,
        "name": "flowpic",
        "version": "1",
        "network": {"name": NETWORK, "args": {}},
        "input": SPEC.model_dump(mode="json"),
        "labels": list(LABELS),
        "malicious": [],
        "temperature": temperature,
        "judges": {"kinds": ["block", "final"], "min_packets": MIN_PACKETS},
        "policy": {"threshold": None, "unknown_below": unknown_below},
        "data": {
            "manifest_sha256": read_manifest(data).sha256,
            "sets": list(SETS),
            "protocol": "split by file as in the manifest, duplicates removed",
        },
        "scores": scores,
    }


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the bundle.")
@click.option("--compare", is_flag=True, help="Print the baselines' scores, too.")
def main(data: Path, out: Path, compare: bool) -> None:
    """Train the FlowPic bundle."""
    train_bundle(data, out, compare)


if __name__ == "__main__":
    main()
