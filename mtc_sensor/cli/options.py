"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

files_argument = click.argument("files", nargs=-1, required=True, metavar="FILE|DIR...")


device_option = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
workers_option = click.option(
    "--workers", type=click.IntRange(1, 256), default=1, show_default=True
)
store_option = click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for records that were read once [default: in ~/.cache].",
)


def data_option(required: bool) -> Callable[[F], F]:
    """Return the option for a manifest."""
    return click.option(
        "--data",
        type=click.Path(path_type=Path),
        required=required,
        help="A manifest (CSV with at least path and label), or the folder that has it.",
    )


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Return one decorator for several options; help shows them in this order."""

    def add(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return add


judging = together(
    click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder for mtc.log and notice.log [default: write none].",
    ),
    click.option(
        "--models",
        metavar="NAME,...",
        help="Names or folders of bundles [default: all shipped ones].",
    ),
    device_option,
    click.option(
        "--suppress-for",
        type=click.FloatRange(0),
        default=3600.0,
        show_default=True,
        metavar="SECONDS",
        help="How long a notice keeps its repeats from being raised; 0: never.",
    ),
    click.option("--force", is_flag=True, help="Overwrite the logs in --out."),
    click.option("--json-logs", is_flag=True, help="Write Zeek's JSON logs instead of TSV."),
    click.option("--ecs", is_flag=True, help="Write ecs.ndjson too (Elastic Common Schema)."),
)
"""The options of what judges traffic and where its verdicts go."""


def model_names(models: str | None) -> tuple[str, ...]:
    """Return what `--models` names, or all shipped bundles."""
    from mtc_sensor.models.bundle import find_bundles  # noqa: PLC0415 - loads torch

    return tuple(find_bundles()) if models is None else tuple(models.split(","))
