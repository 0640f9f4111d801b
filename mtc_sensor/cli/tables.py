"""What people see at the end of a replay."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

if TYPE_CHECKING:
    from mtc_sensor.summary import Summary, Totals

_SHOWN_TALKERS = 5


def report(summary: Summary, logs: Sequence[Path], as_json: bool) -> int:
    """Print what a replay amounted to, and what went wrong; return the exit code."""
    if as_json:
        click.echo(json.dumps(summary.as_json()))
    else:
        print_summary(summary, logs)
    for error in summary.errors:
        click.echo(f"mtc-sensor: {error}", err=True)
    return 1 if summary.errors else 0


def print_summary(summary: Summary, logs: Sequence[Path]) -> None:
    """Print flows, verdicts per class, notices, top talkers, times, and where the logs are."""
    console = Console(highlight=False)
    totals, seconds = summary.totals, summary.seconds
    console.print(
        f"{summary.files} file(s): {totals.packets:,} packets, {decimal(totals.bytes)}, "
        f"{totals.flows:,} flows; records: {_named(totals.records)}",
        soft_wrap=True,
    )
    if totals.samples:
        console.print(f"samples: {_named(totals.samples)}", soft_wrap=True)
    if totals.dropped:
        what = "messages dropped" if totals.samples else "not judged"
        console.print(f"{what}: {_named(totals.dropped)}", soft_wrap=True)
    console.print(
        f"{seconds:.2f} s, {totals.packets / seconds:,.0f} packets/s, "
        f"{totals.flows / seconds:,.0f} flows/s\n"
    )
    console.print(_verdicts(summary))
    console.print(_talkers(summary))
    _print_notices(console, summary.first_notices, totals)
    if logs:
        console.print(f"logs: {' '.join(map(str, logs))}", soft_wrap=True)


def _named(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _verdicts(summary: Summary) -> Table:
    table = Table(title="Verdicts", title_justify="left", box=None, pad_edge=False)
    table.add_column("model")
    table.add_column("label")
    table.add_column("records", justify="right")
    ranked = sorted(summary.verdicts.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
    for (model, label), count in ranked:
        table.add_row(model, label, f"{count:,}")
    return table


def _talkers(summary: Summary) -> Table:
    table = Table(title="\nTop talkers", title_justify="left", box=None, pad_edge=False)
    table.add_column("originator")
    table.add_column("flows", justify="right")
    table.add_column("sampled bytes", justify="right")
    for host, flows, size in summary.top_talkers(_SHOWN_TALKERS):
        table.add_row(host, f"{flows:,}", decimal(size))
    return table


def _print_notices(console: Console, first: Sequence[str], totals: Totals) -> None:
    console.print(f"\nNotices: {totals.notices:,}, and {totals.suppressed:,} repeats suppressed")
    shown = first[: totals.notices]  # a Zeek's own policy may have raised fewer
    for message in shown:
        console.print(f"  MTC::Malicious_Flow  {message}", soft_wrap=True)
    if totals.notices > len(shown):
        console.print(f"  ... and {totals.notices - len(shown):,} more")
