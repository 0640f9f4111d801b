"""Options of the commands that need labelled records, and reading these with progress."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mtc_sensor.cli.options import F, data_option, store_option, together, workers_option
from mtc_sensor.cli.progress import CountProgress

if TYPE_CHECKING:
    from mtc_sensor.inference import Model
    from mtc_sensor.training.tasks import Labelled, Task


def labelled_options(required: bool) -> Callable[[F], F]:
    """Return the options that say which labelled records; `required`: whether --data has to be."""
    return together(
        data_option(required),
        click.option(
            "--task",
            "task_name",
            metavar="NAME",
            help="What the labels are [default: what the bundle was trained for].",
        ),
        store_option,
        workers_option,
    )


def read_labelled(
    model: Model, data: Path, store: Path | None, task_name: str | None, workers: int
) -> tuple[Task, Labelled]:
    """Return the task and the records of a manifest, those that the model judges.

    Raises DataError for a manifest or a task that cannot be used.
    """
    from mtc_sensor.capture.flows import FlowSettings  # noqa: PLC0415
    from mtc_sensor.inference import settings_for  # noqa: PLC0415 - these load torch
    from mtc_sensor.training.manifest import read_manifest  # noqa: PLC0415
    from mtc_sensor.training.store import Store  # noqa: PLC0415
    from mtc_sensor.training.tasks import load, task_named  # noqa: PLC0415

    manifest = read_manifest(data)
    name = task_name or task_for(model.policy.labels)
    fewest = min(FlowSettings().min_packets, model.bundle.config.judges.min_packets)
    settings = settings_for([model], FlowSettings(min_packets=fewest))
    kept = Store(store or default_store(), settings)
    with CountProgress() as progress:
        task = task_named(name, manifest, kept, workers, progress)
        labelled = load(task, manifest, kept, workers, progress)
    return task, labelled.take(model.rows(labelled.flows))


def task_for(labels: Sequence[str]) -> str:
    """Return the task that has these labels, or the column ``label``."""
    from mtc_sensor.training.tasks import TASKS  # noqa: PLC0415

    return next((t.name for t in TASKS.values() if set(t.labels) == set(labels)), "label")


def default_store() -> Path:
    """Return where records are kept if nobody says."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "mtc-sensor" / "store"
