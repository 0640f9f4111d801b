"""`mtc-sensor dataset`: labelled captures as records, what they hold, and new ones."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from mtc_sensor.cli.capture import Stop
from mtc_sensor.cli.labelled import default_store
from mtc_sensor.cli.options import F, together, workers_option
from mtc_sensor.cli.progress import CountProgress
from mtc_sensor.errors import DataError

if TYPE_CHECKING:
    from mtc_sensor.training.store import Built, Store

_MIB = 1 << 20


@click.group()
def dataset() -> None:
    """Build, look at and collect labelled data sets."""


@dataclass(frozen=True)
class _Records:
    """Where the records of a manifest's files are kept, and what they hold."""

    folder: Path | None
    min_packets: int
    head_bytes: int
    tokens: bool

    def store(self, captures: str | None = None, part_bytes: int | None = None) -> Store:
        from mtc_sensor.capture.flows import FlowSettings  # noqa: PLC0415 - these load numba
        from mtc_sensor.training.store import PART_BYTES, Store  # noqa: PLC0415

        return Store(
            self.folder or default_store(),
            FlowSettings(
                min_packets=self.min_packets, head_bytes=self.head_bytes, tokens=self.tokens
            ),
            captures=captures,
            part_bytes=part_bytes or PART_BYTES,
        )


_STORE_OPTIONS = together(
    click.argument("manifest", type=click.Path(path_type=Path)),
    click.option(
        "--store",
        "--out",
        "folder",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder for records that were read once [default: in ~/.cache].",
    ),
    click.option(
        "--min-packets",
        type=click.IntRange(1),
        default=4,
        show_default=True,
        help="Leave out smaller connections.",
    ),
    click.option(
        "--head-bytes",
        type=click.IntRange(0, 65535),
        default=80,
        show_default=True,
        help="Bytes kept of each of a connection's first packets.",
    ),
    click.option("--tokens", is_flag=True, help="Keep token documents (TLS hellos in words)."),
    workers_option,
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
)


def _store_options(function: F) -> F:
    """Add the manifest, and how its files become records: the argument `records`."""

    @functools.wraps(function)
    def command(
        folder: Path | None, min_packets: int, head_bytes: int, tokens: bool, **others: Any
    ) -> Any:
        return function(records=_Records(folder, min_packets, head_bytes, tokens), **others)

    return cast(F, _STORE_OPTIONS(command))


@dataset.command()
@_store_options
@click.option("--zeek", is_flag=True, help="Read the captures with `zeek -r`.")
@click.option(
    "--label-apps",
    is_flag=True,
    help="Label every connection with the application that nDPI finds (extra `apps`).",
)
@click.option(
    "--split-size",
    type=click.IntRange(1),
    default=256,
    show_default=True,
    metavar="MIB",
    help="Keep the records of a larger capture in parts; bounds what a worker holds.",
)
def build(
    manifest: Path,
    records: _Records,
    workers: int,
    as_json: bool,
    zeek: bool,
    label_apps: bool,
    split_size: int,
) -> int:
    """Read the files of MANIFEST (a CSV with at least path and label, or its folder) into a store.

    Files that are in the store already are not read again, wherever they are and whatever they are
    called now. Reads pcap and pcapng (plain, gzip, zstd), Cisco joy's JSON, sizes and times as CSV,
    npz or npy, and Zeek's conn.log and ssl.log with labels.

    A store remembers --zeek and --label-apps: name it with `train --store` and the like.
    """
    from mtc_sensor.training.manifest import read_manifest  # noqa: PLC0415 - these load numba

    if zeek and label_apps:
        raise click.UsageError("--zeek and --label-apps do not go together")
    captures = "zeek" if zeek else "apps" if label_apps else None
    store = records.store(captures, split_size * _MIB)
    with CountProgress() as progress:
        built = store.build(read_manifest(manifest), None, workers, progress)
    click.echo(json.dumps(built.as_json()) if as_json else _built(built, store))
    for fault in built.damaged.values():
        click.echo(f"mtc-sensor: {fault}", err=True)
    return 1 if built.damaged else 0


@dataset.command()
@_store_options
@click.option(
    "--task",
    "task_name",
    default="label",
    show_default=True,
    metavar="NAME",
    help="What is told apart: label or family (columns of the manifest), or a task's name.",
)
def show(
    manifest: Path,
    records: _Records,
    workers: int,
    as_json: bool,
    task_name: str,
) -> int:
    """Show what MANIFEST holds: records per class, capture and split, duplicates, what leaks.

    Leaks are header fields that by themselves tell the classes apart, on records that they were not
    looked up in: 0.5 tells nothing, 1 everything.
    """
    from mtc_sensor.training.manifest import read_manifest  # noqa: PLC0415 - these load numba
    from mtc_sensor.training.survey import survey  # noqa: PLC0415
    from mtc_sensor.training.tasks import load, task_named  # noqa: PLC0415

    read, store = read_manifest(manifest), records.store()
    with CountProgress() as progress:
        task = task_named(task_name, read, store, workers, progress)
        labelled = load(task, read, store, workers, progress)
    found = survey(task, labelled)
    if as_json:
        click.echo(json.dumps({"manifest_sha256": read.sha256, **found.as_json()}))
    else:
        from mtc_sensor.cli.dataset_tables import print_survey  # noqa: PLC0415

        print_survey(found)
    return 0


@dataset.command()
@click.option("-i", "--interface", required=True, help="The interface to listen on.")
@click.option("--label", required=True, help="What passes it: the manifest's column label.")
@click.option("--family", default="", help="Malware family or application.")
@click.option("--set", "set_", default="", metavar="NAME", help="The data set it belongs to.")
@click.option("--split", default="train", show_default=True, metavar="NAME")
@click.option("--filter", "bpf", metavar="BPF", help="A capture filter, e.g. 'tcp port 443'.")
@click.option(
    "--duration", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Stop after it."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    show_default="the current folder",
    help="Folder of the capture and of the manifest, which gets a line for it.",
)
def collect(
    interface: str,
    label: str,
    family: str,
    set_: str,
    split: str,
    bpf: str | None,
    duration: float | None,
    out: Path,
) -> int:
    """Record labelled traffic from an interface; ^C ends it.

    The capture holds whole packets, addresses and payloads included: keep it to yourself.
    """
    from mtc_sensor.capture.live import Interface  # noqa: PLC0415 - these load numba
    from mtc_sensor.training.collect import add_line, capture_name  # noqa: PLC0415
    from mtc_sensor.training.collect import collect as record  # noqa: PLC0415
    from mtc_sensor.training.manifest import Source  # noqa: PLC0415

    began = datetime.now(timezone.utc)
    with Interface(interface, bpf) as packets:
        path = out / capture_name(label, began)
        stop = Stop(duration)
        click.echo(f"listening on {interface}; ^C ends", err=True)
        count = record(packets, stop, path)
    if packets.dropped:
        click.echo(f"mtc-sensor: the kernel dropped {packets.dropped:,} packets", err=True)
    if not count:
        raise DataError(f"{interface}: no packets: choose another interface or --filter")
    source = Source(path.name, label, set_, family, "", f"{began:%Y-%m-%d}", split)
    click.echo(f"{path}: {count:,} packets; {add_line(out, source)} has a line for it")
    return 0


def _built(built: Built, store: Store) -> str:
    lines = [
        f"{store.folder}: {built.records:,} records of {built.files:,} files, "
        f"{built.cached:,} of them read before"
    ]
    if built.labels:
        names = ", ".join(f"{count:,} {name}" for name, count in built.labels.most_common(20))
        lines.append(f"labels of their own: {names}")
    if built.dropped:
        names = ", ".join(f"{count:,} {name}" for name, count in built.dropped.most_common())
        lines.append(f"not in the records: {names}")
    if built.left_out:
        lines.append(f"without records of their own: {len(built.left_out):,} files")
    return "\n".join(lines)
