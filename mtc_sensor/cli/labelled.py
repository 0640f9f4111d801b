"""Options of the commands that need labelled records, and reading these with progress."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from mtc_sensor.inference import Model
    from mtc_sensor.training.tasks import Labelled, Task

F = TypeVar("F", bound=Callable[..., Any])


def labelled_options(required: bool) -> Callable[[F], F]:
    """Add the options that say which labelled records; `required` is whether --data has to be."""

    def add(function: F) -> F:
        for option in (
            click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True),
            click.option(
                "--store",
                type=click.Path(path_type=Path, file_okay=False),
                help="Folder for records that were read once [default: in ~/.cache].",
            ),
            click.option(
                "--task",
                "task_name",
                metavar="NAME",
                help="What the labels are [default: what the bundle was trained for].",
            ),
            click.option(
                "--data",
                type=click.Path(path_type=Path),
                required=required,
                help="A manifest (CSV with at least path and label), or the folder that has it.",
            ),
        ):
            function = option(function)
        return function

    return add


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
    task = task_named(name, manifest)
    fewest = min(FlowSettings().min_packets, model.bundle.config.judges.min_packets)
    settings = settings_for([model], FlowSettings(min_packets=fewest))
    kept = Store(store or default_store(), settings)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    )
    with bar:
        shown = bar.add_task("reading", total=None)
        labelled = load(
            task, manifest, kept, workers,
            lambda done, total, name: bar.update(shown, completed=done, total=total),
        )  # fmt: skip
    return task, labelled.take(model.rows(labelled.flows))


def task_for(labels: Sequence[str]) -> str:
    """Return the task that has these labels, or the column ``label``."""
    from mtc_sensor.training.tasks import TASKS  # noqa: PLC0415

    return next((t.name for t in TASKS.values() if set(t.labels) == set(labels)), "label")


def default_store() -> Path:
    """Return where records are kept if nobody says."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "mtc-sensor" / "store"
