"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

files_argument = click.argument("files", nargs=-1, required=True, metavar="FILE|DIR...")


def judging(function: F) -> F:
    """Add the options of what judges traffic and where its verdicts go."""
    for option in (
        click.option("--ecs", is_flag=True, help="Write ecs.ndjson too (Elastic Common Schema)."),
        click.option("--json-logs", is_flag=True, help="Write Zeek's JSON logs instead of TSV."),
        click.option("--force", is_flag=True, help="Overwrite the logs in --out."),
        click.option(
            "--suppress-for",
            type=click.FloatRange(0),
            default=3600.0,
            show_default=True,
            metavar="SECONDS",
            help="How long a notice keeps its repeats from being raised; 0: never.",
        ),
        click.option(
            "--device",
            type=click.Choice(["auto", "cpu", "cuda"]),
            default="auto",
            show_default=True,
        ),
        click.option(
            "--models",
            metavar="NAME,...",
            help="Names or folders of bundles [default: all shipped ones].",
        ),
        click.option(
            "--out",
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder for mtc.log and notice.log [default: write none].",
        ),
    ):
        function = option(function)
    return function


def model_names(models: str | None) -> tuple[str, ...]:
    """Return what `--models` names, or all shipped bundles."""
    from mtc_sensor.models.bundle import find_bundles  # noqa: PLC0415 - loads torch

    return tuple(find_bundles()) if models is None else tuple(models.split(","))
