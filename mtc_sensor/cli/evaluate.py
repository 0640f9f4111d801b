"""`mtc-sensor evaluate`: how good bundles are on labelled captures, and how sure that is."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from rich.console import Console
from rich.table import Table

from mtc_sensor.cli.labelled import labelled_options, read_labelled
from mtc_sensor.errors import MtcError
from mtc_sensor.training import words

if TYPE_CHECKING:
    from mtc_sensor.inference import Model
    from mtc_sensor.training.answers import Measured
    from mtc_sensor.training.evaluation import Evaluation
    from mtc_sensor.training.tasks import Labelled

Protocol = Literal["honest", "paper"]


@click.command()
@click.argument("bundles", nargs=-1, required=True, metavar="BUNDLE...")
@labelled_options(required=True)
@click.option(
    "--split",
    metavar="NAME",
    help="Rows of the manifest to ask about [default: all but train; all if none else].",
)
@click.option(
    "--protocol",
    type=click.Choice(["honest", "paper"]),
    default="honest",
    show_default=True,
    help="honest: as the manifest splits captures, duplicates once; paper: at random.",
)
@click.option(
    "--first",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Ask about records as they were so long after their first packet; sizes and times only.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
@click.option(
    "--report",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for index.html with plots, and evaluation.json.",
)
def evaluate(
    bundles: tuple[str, ...],
    data: Path,
    task_name: str | None,
    store: Path | None,
    workers: int,
    split: str | None,
    protocol: Protocol,
    first: float | None,
    as_json: bool,
    report: Path | None,
) -> int:
    """Measure bundles on the labelled captures of a manifest.

    BUNDLE is a shipped bundle's name or a folder. Beside each bundle stand two baselines, trained
    on the manifest's train rows: the nearest neighbour, and gradient-boosted trees, on the sizes
    and directions of the first 10 packets. Intervals are 95 %, by a bootstrap over captures.
    """
    from mtc_sensor.inference import load_models  # noqa: PLC0415 - these load torch
    from mtc_sensor.training import evaluation  # noqa: PLC0415

    done = []
    for model in load_models(bundles):
        task, labelled = read_labelled(model, data, store, task_name, workers)
        test, train = evaluation.sides(model, labelled, split, protocol)
        if first is not None:
            _check_times_suffice(model)
            test, train = _early(test, first), train and _early(train, first)
        done.append(evaluation.evaluate(model, task, test, train, protocol))
        if not as_json:
            print_evaluation(done[-1])
    if as_json:
        objects = {one.bundle: evaluation.as_json(one) for one in done}
        whole = objects[done[0].bundle] if len(done) == 1 else {"bundles": objects}
        click.echo(json.dumps(whole))
    if report is not None:
        from mtc_sensor.training.report import write_report  # noqa: PLC0415

        page = write_report(report, done)
        click.echo(f"report: {page}", err=True)
    return 0


def _check_times_suffice(model: Model) -> None:
    spec = model.bundle.spec
    if model.members or spec.head_bytes or spec.reads_tokens:
        raise MtcError(
            f"{model.name}: --first cuts sizes and times, and this model looks at more: leave it "
            "out, or choose another bundle"
        )


def _early(labelled: Labelled, seconds: float) -> Labelled:
    from mtc_sensor.training.augment_flows import first_seconds  # noqa: PLC0415 - loads numba

    return replace(labelled, flows=first_seconds(labelled.flows, seconds))


def print_evaluation(done: Evaluation) -> None:
    """Print figures beside the baselines', classes, alerts and speed."""
    console = Console(highlight=False)
    measured = done.model
    captures = len(set(measured.answers.group.tolist()))
    console.print(
        f"[bold]{done.bundle}[/bold] on task {done.task}, {done.protocol} protocol: "
        f"{len(measured.answers.label):,} records of {captures:,} captures",
        soft_wrap=True,
    )
    console.print(_figures(done))
    console.print(_classes(measured))
    for line in words.remarks(done):
        console.print(line, soft_wrap=True)
    console.print()


def _figures(done: Evaluation) -> Table:
    table = Table(box=None, pad_edge=False)
    others = done.baselines or {}
    for name in ("", done.bundle, "95 %", *(words.RIVALS[name] for name in others)):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for key, value in done.model.figures.items():
        if math.isnan(value):
            continue
        low, high = done.model.intervals[key]
        rivals = [words.number(m.figures[key]) for m in others.values()]
        if key == "unknown_rate":
            rivals = [""] * len(rivals)
        table.add_row(words.TITLES[key], words.number(value), f"{low:.3f}-{high:.3f}", *rivals)
    return table


def _classes(measured: Measured) -> Table:
    from mtc_sensor.training.metrics import per_class  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    for name in ("label", "precision", "recall", "F1", "records"):
        table.add_column(name, justify="left" if name == "label" else "right")
    each = per_class(measured.table)
    rows = zip(
        measured.answers.space.labels, each.precision, each.recall, each.f1, each.support,
        strict=True,
    )  # fmt: skip
    for label, precision, recall, f1, support in rows:
        if support:
            shown = (words.number(float(v)) for v in (precision, recall, f1))
            table.add_row(label, *shown, f"{int(support):,}")
    return table
