"""`mtc-sensor replay`: captures through the models, without Zeek or beside one."""

from __future__ import annotations

from pathlib import Path

import click

from mtc_sensor.cli.options import files_argument, judging, model_names
from mtc_sensor.cli.progress import FileProgress
from mtc_sensor.cli.replay_zeek import replay_with_zeek
from mtc_sensor.cli.tables import report


@click.command()
@files_argument
@judging
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Processes; each reads whole files.",
)
@click.option("--zeek", is_flag=True, help="Read the captures with Zeek, which writes its logs.")
@click.option(
    "--transport",
    type=click.Choice(["zeromq", "websocket", "broker"]),
    default="zeromq",
    show_default=True,
    help="With --zeek: how Zeek and the sensor talk.",
)
@click.option(
    "--zeek-script",
    "zeek_scripts",
    type=click.Path(path_type=Path, exists=True),
    multiple=True,
    help="With --zeek: a script of your own, such as local.zeek; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, not tables.")
def replay(
    files: tuple[str, ...],
    out: Path | None,
    models: str | None,
    device: str,
    suppress_for: float,
    force: bool,
    json_logs: bool,
    ecs: bool,
    workers: int,
    zeek: bool,
    transport: str,
    zeek_scripts: tuple[Path, ...],
    as_json: bool,
) -> int:
    """Classify the flows of captures and write verdicts and notices.

    FILE is a pcap or pcapng, plain or compressed with gzip or zstd; `-` is standard input. A
    directory is searched for captures. A file that cannot be read to its end is reported, what was
    before the damage counts, and the other files go on.

    With --zeek each capture is read by `zeek -r` with the sensor beside it. Zeek's logs are left in
    --out, those of several captures in a folder each; Zeek itself suppresses notices.
    """
    if zeek:
        if ecs or workers > 1:
            raise click.UsageError("--ecs and --workers do not go together with --zeek")
        return replay_with_zeek(
            files,
            out,
            transport,
            zeek_scripts,
            models,
            device,
            suppress_for,
            force,
            json_logs,
            as_json,
        )
    from mtc_sensor.capture.pcap import capture_files  # noqa: PLC0415 - these load torch and numba
    from mtc_sensor.outputs.logs import VerdictLogs  # noqa: PLC0415
    from mtc_sensor.outputs.notice import NoticeSuppressor  # noqa: PLC0415
    from mtc_sensor.replay import Setup  # noqa: PLC0415
    from mtc_sensor.replay import replay as judge_files  # noqa: PLC0415
    from mtc_sensor.summary import CaptureSummary  # noqa: PLC0415

    paths = capture_files(files)
    steps = judge_files(paths, Setup(model_names(models), device), workers)
    suppressor = NoticeSuppressor(suppress_for)
    summary = CaptureSummary(suppressor)
    with (
        VerdictLogs(out, suppressor, json=json_logs, ecs=ecs, force=force) as logs,
        FileProgress(paths) as progress,
    ):
        for step in steps:
            summary.add(step, logs.write(step.verdicts))
            progress.update(step.file, step.bytes_read, step.counts.packets)
    written = [] if out is None else [out / "mtc.log", out / "notice.log"]
    return report(summary, written, as_json)
