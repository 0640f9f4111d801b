"""Captures of two kinds of traffic that a small model can tell apart, and recipes for them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mtc_sensor.training.manifest import Manifest, read_manifest
from mtc_sensor.training.ranks import Ranks
from mtc_sensor.training.recipe import Recipe

from .captures import RAW_IP, udp

RECIPE: dict[str, Any] = {
    "name": "small",
    "task": "malicious",
    "input": {"kind": "byte_matrix", "masks": ["addresses", "ports", "checksums", "ttl"]},
    "network": {"name": "packet-cnn", "args": {"channels": 4, "hidden": 8}},
    "judges": {"kinds": ["early", "final"], "min_packets": 4},
    "epochs": 3,
    "batch": 16,
    "rate": 0.01,
}


def write_corpus(folder: Path, captures: int = 6, flows: int = 24) -> Manifest:
    """Write benign captures of short texts and malicious ones of long noise; a third is val."""
    lines = ["path,label,family,source,split"]
    for number in range(2 * captures):
        bad = number % 2 == 1
        name = f"{number}.pcap"
        _capture(folder / name, flows, bad, np.random.default_rng(number))
        split = "val" if number // 2 % 3 == 2 else "train"
        label = "malware,worm" if bad else "benign,chat"
        lines.append(f"{name},{label},lab{number % 4},{split}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return read_manifest(folder)


def recipe(**changes: Any) -> Recipe:
    """Return the small recipe with other top-level keys; None deletes one."""
    settings = {k: v for k, v in {**RECIPE, **changes}.items() if v is not None}
    return Recipe.model_validate(settings)


def write_recipe(path: Path, **changes: Any) -> Path:
    """Write the small recipe as YAML."""
    path.write_text(yaml.safe_dump({**RECIPE, **changes}))
    return path


def alone() -> Ranks:
    """Return the ranks of a process that trains by itself, on the CPU."""
    import torch  # noqa: PLC0415

    return Ranks(0, 1, torch.device("cpu"))


def _capture(path: Path, flows: int, bad: bool, rng: np.random.Generator) -> None:
    records = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, RAW_IP)]
    for number in range(flows * 12):
        low, high, least = (128, 256, 200) if bad else (97, 123, 20)
        payload = rng.integers(low, high, least + int(rng.integers(0, 60)), np.uint8).tobytes()
        data = udp(40000 + number // 12, payload)
        second, micro = 1_600_000_000 + number, int(rng.integers(0, 900_000))
        records.append(struct.pack("<IIII", second, micro, len(data), len(data)) + data)
    path.write_bytes(b"".join(records))
