"""What people see at the end of a replay."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from mtc_sensor.summary import Summary

_SHOWN_TALKERS = 5


def print_summary(summary: Summary, suppressed: int, out: Path | None) -> None:
    """Print flows, verdicts per class, notices, top talkers and times."""
    console = Console(highlight=False)
    total, seconds = summary.total, summary.seconds
    records = ", ".join(f"{count:,} {kind}" for kind, count in summary.records.items())
    console.print(
        f"{summary.files} file(s): {total.packets:,} packets, {decimal(total.bytes)}, "
        f"{total.flows:,} flows; records: {records}",
        soft_wrap=True,
    )
    dropped = {name: count for name, count in total.dropped.items() if count}
    if dropped:
        names = ", ".join(f"{count:,} {name}" for name, count in dropped.items())
        console.print(f"not judged: {names}", soft_wrap=True)
    console.print(
        f"{seconds:.2f} s, {total.packets / seconds:,.0f} packets/s, "
        f"{total.flows / seconds:,.0f} flows/s\n"
    )
    console.print(_verdicts(summary))
    console.print(_talkers(summary))
    _print_notices(console, summary, suppressed)
    if out is not None:
        console.print(f"logs: {out}/mtc.log {out}/notice.log", soft_wrap=True)


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
    table.add_column("IP bytes", justify="right")
    for host, flows, size in summary.top_talkers(_SHOWN_TALKERS):
        table.add_row(host, f"{flows:,}", decimal(size))
    return table


def _print_notices(console: Console, summary: Summary, suppressed: int) -> None:
    console.print(f"\nNotices: {summary.notices:,}, and {suppressed:,} repeats suppressed")
    for message in summary.first_notices:
        console.print(f"  MTC::Malicious_Flow  {message}", soft_wrap=True)
    if summary.notices > len(summary.first_notices):
        console.print(f"  ... and {summary.notices - len(summary.first_notices):,} more")
