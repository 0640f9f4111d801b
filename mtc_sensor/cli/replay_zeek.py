"""`mtc-sensor replay --zeek`: captures through the models, beside a Zeek."""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click

from mtc_sensor.cli.options import model_names


def replay_with_zeek(
    files: tuple[str, ...],
    out: Path | None,
    transport: str,
    scripts: tuple[Path, ...],
    models: str | None,
    device: str,
    suppress_for: float,
    force: bool,
    json_logs: bool,
    as_json: bool,
) -> int:
    """Replay each capture; return the exit code."""
    from mtc_sensor.capture.pcap import capture_files  # noqa: PLC0415 - these load torch and numba
    from mtc_sensor.config import LogConfig  # noqa: PLC0415
    from mtc_sensor.inference import load_models  # noqa: PLC0415
    from mtc_sensor.logs import set_up_logging  # noqa: PLC0415
    from mtc_sensor.zeek_replay import (  # noqa: PLC0415
        ZeekSetup,
        prepare,
        replay_zeek,
    )
    from mtc_sensor.zeek_summary import ZeekSummary  # noqa: PLC0415

    set_up_logging(LogConfig(level="error"))  # that Zeek goes at its end is nothing to report
    paths = capture_files(files)
    loaded = load_models(model_names(models), device)
    setup, summary = ZeekSetup(transport, scripts, json_logs, suppress_for), ZeekSummary()
    with ExitStack() as stack:
        if out is None:
            out = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mtc-")))
        folders = [out] if len(paths) == 1 else [out / name for name in _names(paths)]
        for folder in folders:
            prepare(folder, force)
        for path, folder in zip(paths, folders, strict=True):
            replay_zeek(path, folder, setup, loaded, summary)
    click.echo(json.dumps(summary.as_json()) if as_json else _text(summary.as_json()))
    for error in summary.errors:
        click.echo(f"mtc-sensor: {error}", err=True)
    return 1 if summary.errors else 0


def _names(paths: list[Path]) -> list[str]:
    """Return a folder's name for each of several captures."""
    return [f"{number:04d}-{path.name}" for number, path in enumerate(paths, 1)]


def _text(summary: dict[str, object]) -> str:
    return "\n".join(f"{key}: {value}" for key, value in summary.items() if value)
