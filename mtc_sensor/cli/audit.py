"""`mtc-sensor audit`: what a bundle's verdicts hang on, and whether that is allowed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from mtc_sensor.cli.labelled import labelled_options, read_labelled

if TYPE_CHECKING:
    from mtc_sensor.inference import Model
    from mtc_sensor.training.audit import Audit
    from mtc_sensor.training.tasks import Labelled, Task


@click.command()
@click.argument("bundle")
@labelled_options(required=False)
@click.option(
    "--split",
    metavar="NAME",
    help="Rows of the manifest to ask about [default: all but train; all if none else].",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def audit(
    bundle: str,
    data: Path | None,
    task_name: str | None,
    store: Path | None,
    workers: int,
    split: str | None,
    as_json: bool,
) -> int:
    """Change each header field and range of bytes in turn, and show what verdicts hang on.

    BUNDLE is a shipped bundle's name or a folder. Fields that tell machines and captures apart
    (addresses, ports, sequence numbers, TTL and the like) may not matter at all, whatever the
    bundle masks: if one does, the exit code is 1. Without --data, connections are made up: they
    show whether such fields matter, but not what else the model looks at in real traffic.
    """
    from mtc_sensor.inference import load_models  # noqa: PLC0415 - these load torch
    from mtc_sensor.training import audit as auditing  # noqa: PLC0415

    model = load_models([bundle])[0]
    task, labelled = _records(model, data, task_name, store, workers, split)
    result = auditing.audit(model, task, labelled)
    if as_json:
        click.echo(json.dumps(auditing.as_json(result)))
    else:
        print_audit(result)
    if result.failures:
        click.echo(
            f"mtc-sensor: {model.name}: verdicts depend on {', '.join(result.failures)}, which "
            "tell machines and captures apart: train it again with these masked",
            err=True,
        )
    return 1 if result.failures else 0


def _records(
    model: Model,
    data: Path | None,
    task_name: str | None,
    store: Path | None,
    workers: int,
    split: str | None,
) -> tuple[Task | None, Labelled]:
    from mtc_sensor.training.evaluation import sides  # noqa: PLC0415
    from mtc_sensor.training.made_up import made_up  # noqa: PLC0415

    if data is None:
        return None, made_up(model)
    task, labelled = read_labelled(model, data, store, task_name, workers)
    return task, sides(model, labelled, split, "honest")[0]


def print_audit(result: Audit) -> None:
    """Print the fields that matter or must not; name the others."""
    console = Console(highlight=False)
    console.print(f"[bold]{result.bundle}[/bold]: {result.records:,} records", soft_wrap=True)
    console.print("Change of probabilities (mean, largest), and share of verdicts changed:")
    if not math.isnan(result.before):
        console.print(f"{result.score} {result.before:.4f} with nothing changed")
    table = Table(box=None, pad_edge=False)
    labels = not math.isnan(result.before)
    headings = ["field", "", "mean", "largest", "verdicts", *([result.score] if labels else [])]
    for name in headings:
        table.add_column(name, justify="left" if name in ("field", "") else "right", no_wrap=True)
    shown = [effect for effect in result.effects if effect.masked or effect.most > 0]
    for effect in shown:
        what = "FAILS" if effect.fails else "masked" if effect.masked else ""
        score = [f"{effect.score:+.4f}"] if labels else []
        changes = (f"{value:.4f}" for value in (effect.mean, effect.most, effect.verdicts))
        table.add_row(effect.field, what, *changes, *score)
    console.print(table)
    silent = [effect.field for effect in result.effects if effect not in shown]
    if silent:
        console.print(f"no change at all: {', '.join(silent)}", soft_wrap=True)
