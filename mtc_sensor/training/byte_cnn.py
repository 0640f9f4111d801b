"""Train the shipped `byte-cnn` bundle.

    python -m mtc_sensor.training.byte_cnn --data DATA --out models/byte-cnn
    python -m mtc_sensor.training.byte_cnn --data DATA --compare other-sources

The first trains on the captures that the manifest calls train, calibrates on those it calls val,
and writes the bundle. The second only measures, networks beside baselines: `manifest` tests on the
manifest's val captures, `other-sources` on captures of other people than those trained on.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mtc_sensor.features.spec import ByteMatrixSpec
from mtc_sensor.models.bundle import save_bundle
from mtc_sensor.models.networks import build_network
from mtc_sensor.training import calibration, metrics
from mtc_sensor.training.augment import augment
from mtc_sensor.training.baselines import boosted_trees, nearest_neighbour
from mtc_sensor.training.cards import card
from mtc_sensor.training.fit import Recipe, balanced, fit, logits_of
from mtc_sensor.training.malware import BENIGN, LABELS, SETS, group_of, matrices, read_task, split
from mtc_sensor.training.manifest import read_manifest
from mtc_sensor.training.tasks import Labelled

NETWORK = "packet-cnn"
EPOCHS = {"packet-cnn": 20, "byte-cnn-lstm": 6}
FALSE_ALARMS = 1e-3
"""Share of benign validation flows that may be called malicious."""
UNKNOWN_BELOW = 0.5
ARCHIVES = ("tatsui-geek/malware-traffic-analysis.net", "ntop/nDPI")
"""What `other-sources` trains on, beside the session sets."""

Matrices = NDArray[np.uint8]
Labels = NDArray[np.int64]
Rows = NDArray[np.int64]
Scores = dict[str, float]


def compare(data: Path, protocol: str) -> None:
    """Print how networks and baselines tell malicious from benign under a protocol."""
    task = read_task(data)
    inputs = matrices(task)
    train, test = split(task, inputs, *_protocol(task, protocol))
    x, y = inputs[train], (task.label[train] != BENIGN).astype(np.int64)
    positive = task.label[test] != BENIGN
    click.echo(f"train on {len(train)} flows, test on {positive.sum()} of {len(test)} malicious")
    for name in EPOCHS:
        network = train_network(name, x, task.label[train], task.of(group_of)[train])
        probabilities = calibration.softmax(logits_of(network, inputs[test]), 1.0)
        click.echo(f"{name}: {detection_scores(1 - probabilities[:, BENIGN], positive)}")
    for baseline in (nearest_neighbour, boosted_trees):
        malice = baseline(x, y, inputs[test], 2)[:, 1]
        click.echo(f"{baseline.__name__}: {detection_scores(malice, positive)}")


def train_bundle(data: Path, out: Path) -> None:
    """Train on the manifest's train captures, calibrate on its val captures, write the bundle."""
    task = read_task(data)
    inputs = matrices(task)
    training = task.of(lambda source: source.split) == "train"
    train, val = split(task, inputs, training, ~training)
    network = train_network(NETWORK, inputs[train], task.label[train], task.of(group_of)[train])
    logits, labels = logits_of(network, inputs[val]), task.label[val]
    temperature = calibration.fit_temperature(logits, labels)
    probabilities = calibration.softmax(logits, temperature)
    benign_malice = 1 - probabilities[labels == BENIGN, BENIGN]
    threshold = round(metrics.threshold_at(benign_malice, FALSE_ALARMS) + 5e-5, 4)
    scores = validation_scores(task, val, probabilities, threshold)
    scores |= {"train-flows": len(train), "val-flows": len(val)}
    config = _config(data, temperature, threshold, scores)
    save_bundle(out, config, network, _reference(), card("byte-cnn", scores))


def train_network(
    name: str, inputs: Matrices, labels: Labels, groups: NDArray[np.str_]
) -> nn.Module:
    """Fit the network `name` with augmentation; benign and malicious weigh the same."""
    make = partial(build_network, name, inputs.shape[1:], len(LABELS), {})
    weights = balanced((labels != BENIGN).astype(np.int64), groups)
    return fit(make, inputs, labels, weights, Recipe(EPOCHS[name]), augment)[0]


def detection_scores(malice: NDArray[np.float64], positive: NDArray[np.bool_]) -> Scores:
    """Return how well malicious and benign flows are told apart, whatever the family."""
    return {
        "auroc": round(metrics.auroc(malice, positive), 4),
        **{
            f"tpr-at-fpr-{rate}": round(metrics.detection_at(malice, positive, rate), 4)
            for rate in (0.001, 0.01, 0.05)
        },
    }


def validation_scores(
    task: Labelled, rows: Rows, probabilities: NDArray[np.float64], threshold: float
) -> Scores:
    """Return the figures of the card: per flow and per capture, on captures and session sets."""
    labels, sets = task.label[rows], task.of(lambda source: source.set)[rows]
    malice, positive = 1 - probabilities[:, BENIGN], labels != BENIGN
    captures, flagged = np.isin(sets, ("malware", "benign")), malice >= threshold
    families = captures & positive
    within = np.argmax(probabilities[families][:, BENIGN + 1 :], axis=1) + BENIGN + 1
    return detection_scores(malice[captures], positive[captures]) | {
        "threshold": threshold,
        "flows-detected": _share(flagged[captures & positive]),
        "captures-detected": _captures(task.source[rows], flagged, captures & positive),
        "false-alarms-captures": _share(flagged[captures & ~positive]),
        "false-alarms-all": _share(flagged[~positive]),
        "benign-flows": float((~positive).sum()),
        "benign-captures-alarmed": _captures(task.source[rows], flagged, captures & ~positive),
        "family-accuracy": _share(within == labels[families]),
        "family-macro-f1": round(metrics.macro_f1(within, labels[families], len(LABELS)), 4),
        "calibration-error": round(metrics.calibration_error(probabilities, labels), 4),
    }


def _protocol(task: Labelled, protocol: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which rows to train on and which to test on."""
    captures = np.isin(task.of(lambda source: source.set), ("malware", "benign"))
    if protocol == "other-sources":
        known = np.isin(task.of(lambda source: source.source), ARCHIVES) | ~captures
        return known, ~known
    train = task.of(lambda source: source.split) == "train"
    return train, ~train & captures


def _share(hits: NDArray[np.bool_]) -> float:
    return round(float(hits.mean()), 4)


def _captures(source: Rows, flagged: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    """Share of the captures `among` whose flows at least one is flagged."""
    return _share(np.isin(np.unique(source[among]), source[among & flagged]))


def _reference() -> torch.Tensor:
    """Make inputs for `verify`: bytes of no meaning, half of them with fewer packets."""
    matrix = np.random.default_rng(0).integers(0, 256, (16, *ByteMatrixSpec().shape), np.uint8)
    matrix[:, :, 0] = 0x45
    matrix[8:, 4:] = 0
    return torch.from_numpy(matrix)


def _config(data: Path, temperature: float, threshold: float, scores: Scores) -> dict[str, object]:
    return {
        "format": 1,
        "name": "byte-cnn",
        "version": "1",
        "network": {"name": NETWORK, "args": {}},
        "input": ByteMatrixSpec().model_dump(mode="json"),
        "labels": list(LABELS),
        "malicious": [label for label in LABELS if label != LABELS[BENIGN]],
        "temperature": temperature,
        "judges": {"kinds": ["early", "final"], "min_packets": 4},
        "policy": {"threshold": threshold, "unknown_below": UNKNOWN_BELOW},
        "data": {
            "manifest_sha256": read_manifest(data).sha256,
            "sets": list(SETS),
            "protocol": "split by capture and time, duplicates removed, all masks",
        },
        "scores": scores,
    }


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the bundle.")
@click.option("--compare", "protocol", type=click.Choice(["manifest", "other-sources"]))
def main(data: Path, out: Path | None, protocol: str | None) -> None:
    """Train the byte-CNN bundle, or compare networks and baselines."""
    if protocol:
        compare(data, protocol)
    if out:
        train_bundle(data, out)


if __name__ == "__main__":
    main()
