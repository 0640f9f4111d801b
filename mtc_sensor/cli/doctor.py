"""`mtc-sensor doctor`: whether everything is there, and what to do about what is not."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from mtc_sensor.doctor import Finding

_COLOURS = {"ok": "green", "absent": "yellow", "failed": "red"}


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A sensor.yaml: check it too, and listen on the bus it names.",
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0.1, 600),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long exporters may take to answer.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def doctor(config: Path | None, wait_s: float, as_json: bool) -> int:
    """Check what this machine has: models, Zeek, and with --config the way to the cluster.

    The exit code is 1 if something failed. What is absent is needed by some commands only.
    """
    from mtc_sensor.config import LogConfig  # noqa: PLC0415
    from mtc_sensor.doctor import examine  # noqa: PLC0415 - it loads what it checks
    from mtc_sensor.logs import set_up_logging  # noqa: PLC0415

    set_up_logging(LogConfig(level="error"))  # what the bus does not answer is a finding
    findings = list(examine(config, wait_s))
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        _print(findings)
    return int(any(finding.state == "failed" for finding in findings))


def _print(findings: Iterable[Finding]) -> None:
    table = Table("check", "state", "detail", box=None, pad_edge=False)
    for finding in findings:
        colour = _COLOURS[finding.state]
        table.add_row(finding.check, f"[{colour}]{finding.state}[/]", Text(finding.detail))
    Console(highlight=False).print(table)
