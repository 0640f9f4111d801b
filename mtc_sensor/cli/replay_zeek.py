"""`mtc-sensor replay --zeek`: captures through the models, beside a Zeek."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

from mtc_sensor.cli.options import model_names
from mtc_sensor.cli.tables import report


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
    from mtc_sensor.inference import load_models, settings_for  # noqa: PLC0415
    from mtc_sensor.logs import set_up_logging  # noqa: PLC0415
    from mtc_sensor.zeek import token_script  # noqa: PLC0415
    from mtc_sensor.zeek_replay import ZeekSetup, prepare, replay_zeek  # noqa: PLC0415
    from mtc_sensor.zeek_summary import ZeekSummary  # noqa: PLC0415

    set_up_logging(LogConfig(level="error"))  # that Zeek goes at its end is nothing to report
    paths = capture_files(files)
    loaded = load_models(model_names(models), device)
    tokens = (token_script(),) if settings_for(loaded).tokens else ()
    setup = ZeekSetup(transport, (*tokens, *scripts), json_logs, suppress_for)
    summary = ZeekSummary(suppress_for)
    with ExitStack() as stack:
        kept = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mtc-")))
        folders = [kept] if len(paths) == 1 else [kept / name for name in _names(paths)]
        for folder in folders:
            prepare(folder, force)
        for path, folder in zip(paths, folders, strict=True):
            replay_zeek(path, folder, setup, loaded, summary)
    return report(summary, [] if out is None else folders, as_json)


def _names(paths: list[Path]) -> list[str]:
    """Return a folder's name for each of several captures."""
    return [f"{number:04d}-{path.name}" for number, path in enumerate(paths, 1)]
