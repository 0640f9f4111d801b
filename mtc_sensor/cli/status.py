"""`mtc-sensor status`: what a running sensor is doing."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from mtc_sensor.status import Latency, Status

_LABELS = 6


@click.command()
@click.option(
    "--url",
    "urls",
    multiple=True,
    default=["http://127.0.0.1:9464"],
    show_default=True,
    metavar="URL",
    help="Where its metrics are; several times for several sensors.",
)
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Between the two readings that rates come from.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per sensor.")
def status(urls: tuple[str, ...], interval: float, as_json: bool) -> None:
    """Show a running sensor: nodes, rates, latencies, models, drops.

    The sensor needs a section `metrics` in its sensor.yaml.
    """
    from mtc_sensor.status import read_status  # noqa: PLC0415 - quick help

    for url in urls:
        found = read_status(url, interval)
        if as_json:
            click.echo(json.dumps(asdict(found)))
        else:
            _print(found, Console(highlight=False))


def _print(found: Status, console: Console) -> None:
    bus = "connected" if found.connected else "not connected"
    devices = "".join(f", {name} {decimal(size)}" for name, size in found.device_bytes.items())
    console.print(
        f"{found.url}: mtc-sensor {found.version}, {bus}, memory {decimal(found.resident_bytes)}"
        f"{devices}; rates over {found.seconds:.1f} s",
        soft_wrap=True,
        markup=False,
    )
    for table in (_nodes(found), _latencies(found), _models(found)):
        console.print(table)
    console.print()
    _line(console, "busy", {name: f"{part:.0%}" for name, part in found.busy.items()})
    _line(console, "queues", found.queues)
    _line(console, "shed", found.shed)
    _line(console, "dropped", found.dropped)


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(title=f"\n{title}", title_justify="left", box=None, pad_edge=False)
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _nodes(found: Status) -> Table:
    columns = ("sampled", "judged", "shed", "lost", "in flight", "sampled/s", "judged/s")
    table = _table("Nodes", "node", *columns)
    for node in found.nodes:
        counts = (node.sampled, node.judged, node.shed, node.lost, node.in_flight)
        rates = (node.sampled_per_s, node.judged_per_s)
        table.add_row(Text(node.node), *(f"{value:,.0f}" for value in (*counts, *rates)))
    return table


def _latencies(found: Status) -> Table:
    table = _table("Latency, ms", "", "p50 now", "p99 now", "p50", "p99")
    for name, latency in (("wait for a batch", found.wait), ("models and publishing", found.added)):
        table.add_row(name, *_milliseconds(latency))
    return table


def _milliseconds(latency: Latency) -> list[str]:
    values = (latency.now_p50_s, latency.now_p99_s, latency.p50_s, latency.p99_s)
    return ["-" if value is None else f"{1000 * value:.1f}" for value in values]


def _models(found: Status) -> Table:
    table = _table("Models", "model", "version", "verdicts", "verdicts/s", "batch", "labels")
    table.columns[-1].justify = "left"
    for model in found.models:
        batch = "-" if model.batch is None else f"{model.batch:.0f}"
        total = sum(model.verdicts.values())
        ranked = sorted(model.verdicts.items(), key=lambda item: (-item[1], item[0]))
        shown = [f"{label} {count:,}" for label, count in ranked[:_LABELS]]
        shown += [f"{len(ranked) - _LABELS} more"] * (len(ranked) > _LABELS)
        rate = f"{model.verdicts_per_s:,.0f}"
        labels = Text(", ".join(shown))
        table.add_row(Text(model.model), Text(model.version), f"{total:,}", rate, batch, labels)
    return table


def _line(console: Console, title: str, values: dict[str, int] | dict[str, str]) -> None:
    """Print one line of names and what belongs to each."""
    shown = [
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}"
        for name, value in values.items()
    ]
    console.print(f"{title}: {', '.join(shown) or 'none'}", soft_wrap=True, markup=False)
