"""A small sound bundle, to be spoiled by tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml

from mtc_sensor.models.bundle import CONFIG, WEIGHTS, save_bundle
from mtc_sensor.models.networks import build_network
from mtc_sensor.models.weights import sha256_of

CONFIG_OF: dict[str, dict[str, Any]] = {
    "byte_matrix": {
        "network": {"name": "packet-cnn", "args": {"channels": 4, "hidden": 8}},
        "input": {"kind": "byte_matrix", "packets": 8, "bytes": 80, "masks": ["ports"]},
    },
    "flowpic": {
        "network": {"name": "flowpic-mini", "args": {}},
        "input": {"kind": "flowpic", "resolution": 32, "window_s": 60.0, "direction": True,
                  "size": "ip", "max_size": 1500},
    },
}  # fmt: skip


def settings(kind: str = "byte_matrix") -> dict[str, Any]:
    return {
        "format": 1,
        "name": "small",
        "version": "1",
        **CONFIG_OF[kind],
        "labels": ["benign", "bot", "worm"],
        "malicious": ["bot", "worm"],
        "temperature": 2.0,
        "judges": {"kinds": ["early", "final"], "min_packets": 4},
        "policy": {"threshold": 0.9, "unknown_below": 0.5},
        "data": {"manifest_sha256": "0" * 64, "sets": ["made up"], "protocol": "none"},
        "scores": {"auroc": 0.5},
    }


def make_bundle(path: Path, kind: str = "byte_matrix") -> Path:
    torch.manual_seed(1)
    shape = {"byte_matrix": (8, 80), "flowpic": (2, 32, 32)}[kind]
    config = settings(kind)
    network = build_network(config["network"]["name"], shape, 3, config["network"]["args"])
    reference = torch.randint(0, 9, (4, *shape), dtype=torch.uint8)
    save_bundle(path, config, network, reference, "# small\n")
    return path


def change_config(path: Path, **changes: Any) -> None:
    """Overwrite keys of bundle.yaml; None deletes one."""
    config = yaml.safe_load((path / CONFIG).read_text())
    config.update(changes)
    kept = {key: value for key, value in config.items() if value is not None}
    (path / CONFIG).write_text(yaml.safe_dump(kept))


def change_weights(path: Path, data: bytes) -> None:
    """Overwrite the weights, with a hash that fits."""
    (path / WEIGHTS).write_bytes(data)
    change_config(path, weights_sha256=sha256_of(data))
