"""What the script `flowpic` trains on: the task ``categories``, by sizes and times alone."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mtc_sensor.features.spec import FlowPicSpec
from mtc_sensor.flow import Kind
from mtc_sensor.training.manifest import read_manifest
from mtc_sensor.training.names import CATEGORIES as LABELS
from mtc_sensor.training.store import Store
from mtc_sensor.training.tasks import MIN_CATEGORY_PACKETS as MIN_PACKETS
from mtc_sensor.training.tasks import TASKS, Labelled, load

__all__ = ["LABELS", "MIN_PACKETS", "SETS", "SPEC", "read_task"]

SETS = TASKS["categories"].sets
SPEC = FlowPicSpec(resolution=32, window_s=15.0, direction=True, size="payload", max_size=1500)


def read_task(data: Path) -> Labelled:
    """Read the sets and label their block and final records with `LABELS`."""
    with tempfile.TemporaryDirectory(prefix="mtc-") as folder:
        task = load(TASKS["categories"], read_manifest(data), Store(folder))
    return task.take(task.flows.kind != Kind.EARLY)
