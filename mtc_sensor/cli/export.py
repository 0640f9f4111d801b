"""`mtc-sensor flows` and `mtc-sensor flowpic`: what the models see, for people and notebooks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from mtc_sensor.cli.options import files_argument
from mtc_sensor.cli.progress import FileProgress, report_failures
from mtc_sensor.errors import CaptureError, MtcError

if TYPE_CHECKING:
    from mtc_sensor.capture.flows import FlowSettings
    from mtc_sensor.flow import FlowBatch

_MAX_SAMPLES = 1 << 24
"""Per flow and block: memory for so many is reserved, but used only as they come."""


@click.command()
@files_argument
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="A .parquet or .csv file."
)
@click.option("--packets", is_flag=True, help="One row per packet instead of one per flow.")
@click.option(
    "--min-packets",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Leave out smaller flows.",
)
def flows(files: tuple[str, ...], out: Path, packets: bool, min_packets: int) -> int:
    """Write the flows of captures, with time, direction and size of every packet.

    FILE is a pcap or pcapng, plain or compressed with gzip or zstd; `-` is standard input.
    """
    from mtc_sensor.capture.flows import FlowSettings  # noqa: PLC0415 - these load numba
    from mtc_sensor.outputs.connections import connections  # noqa: PLC0415
    from mtc_sensor.outputs.tables import TableWriter  # noqa: PLC0415

    # Blocks are joined again; they must be shorter than the 35 min that a sample's time can count.
    settings = FlowSettings(
        min_packets=min_packets, max_samples=_MAX_SAMPLES, block_s=600.0, head_bytes=0
    )
    records = _Records(files, settings)
    with TableWriter(out, packets) as writer:
        for batch in connections(records):
            writer.write(batch)
    click.echo(f"{out}: {writer.rows:,} rows" if writer.rows else "no flows: nothing written")
    return records.report()


@click.command()
@files_argument
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the arrays and pictures.",
)
@click.option("--resolution", type=click.IntRange(2, 1500), default=1500, show_default=True)
@click.option(
    "--window",
    type=click.FloatRange(0.1, 2000),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="What one picture covers.",
)
@click.option(
    "--size",
    type=click.Choice(["ip", "payload"]),
    default="ip",
    show_default=True,
    help="Which size of a packet.",
)
@click.option("--direction/--no-direction", default=True, help="Two channels, or one for both.")
@click.option(
    "--top",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    help="Draw the windows with the most packets.",
)
def flowpic(
    files: tuple[str, ...],
    out: Path,
    resolution: int,
    window: float,
    size: Literal["ip", "payload"],
    direction: bool,
    top: int,
) -> int:
    """Draw the FlowPics of captures: an array (.npy) and a picture (.png) per flow and window."""
    from mtc_sensor.capture.flows import FlowSettings  # noqa: PLC0415 - these load numba
    from mtc_sensor.features.spec import FlowPicSpec  # noqa: PLC0415
    from mtc_sensor.outputs.pictures import Busiest, write_pictures  # noqa: PLC0415

    spec = FlowPicSpec(resolution=resolution, window_s=window, direction=direction, size=size)
    settings = FlowSettings(max_samples=_MAX_SAMPLES, block_s=window, head_bytes=0)
    records, busiest = _Records(files, settings), Busiest(top)
    for batch in records:
        busiest.add(batch)
    written = write_pictures(busiest.records, spec, out)
    click.echo(f"{out}: {written:,} pictures" if written else "no flows: nothing drawn")
    return records.report()


class _Records:
    """The flow records of all files, one after the other; what fails is kept for the end."""

    def __init__(self, files: tuple[str, ...], settings: FlowSettings) -> None:
        from mtc_sensor.capture.pcap import capture_files  # noqa: PLC0415

        self._paths = capture_files(files)
        self._settings = settings
        self._failures: list[MtcError] = []
        self._unsampled = 0

    def __iter__(self) -> Iterator[FlowBatch]:
        from mtc_sensor.capture.records import CaptureFile  # noqa: PLC0415

        with FileProgress(self._paths) as progress:
            for file, path in enumerate(self._paths):
                capture = CaptureFile(path, self._settings, progress.of_file(file))
                try:
                    yield from capture
                except CaptureError as error:
                    self._failures.append(error)
                self._unsampled += capture.counts.dropped.get("unsampled", 0)

    def report(self) -> int:
        """Print what failed; return the exit code."""
        if self._unsampled:
            click.echo(f"{self._unsampled:,} packets were too many for their flows", err=True)
        return report_failures(self._failures, len(self._paths))
