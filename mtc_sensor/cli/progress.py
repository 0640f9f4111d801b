"""Progress bars: on a terminal only, silent in a pipe."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from mtc_sensor.errors import MtcError

B = TypeVar("B", bound="Bar")


class Bar:
    """A context manager that shows how far something is; `columns` stand before the time left."""

    def __init__(
        self, *columns: ProgressColumn, hidden: bool = False, transient: bool = True
    ) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            *columns,
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=hidden or not sys.stderr.isatty(),
            transient=transient,
        )

    def __enter__(self: B) -> B:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


class FileProgress(Bar):
    """Bytes of all files together, packets per second, time left; a context manager."""

    def __init__(self, paths: list[Path]) -> None:
        sizes = [path.stat().st_size if path.is_file() else 0 for path in paths]
        super().__init__(TaskProgressColumn(), DownloadColumn(), TextColumn("{task.fields[rate]}"))
        self._task = self._bar.add_task("", total=sum(sizes) or None, rate="")
        self._before = [0]
        for size in sizes:
            self._before.append(self._before[-1] + size)
        self._packets_before, self._current = 0, (0, 0)
        self._paths = paths

    def update(self, file: int, bytes_read: int, packets: int) -> None:
        """Say how far reading the file number `file` has come."""
        if file != self._current[0]:
            self._packets_before += self._current[1]
        self._current = (file, packets)
        elapsed = self._bar.tasks[0].elapsed or 0.0
        rate = (self._packets_before + packets) / elapsed if elapsed else 0.0
        self._bar.update(
            self._task,
            completed=self._before[file] + bytes_read,
            description=self._paths[file].name,
            rate=f"{rate:,.0f} packets/s",
        )

    def of_file(self, file: int) -> Callable[[int, int], None]:
        """Return `update` for one file."""
        return functools.partial(self.update, file)


class CountProgress(Bar):
    """How many of some files are done; a context manager, to be called after each."""

    def __init__(self) -> None:
        super().__init__(MofNCompleteColumn())
        self._task = self._bar.add_task("reading", total=None)

    def __call__(self, done: int, total: int, name: str) -> None:
        """Say that `done` of `total` files are done, the last of which was `name`."""
        self._bar.update(self._task, completed=done, total=total, description=name)


def report_failures(failures: list[MtcError], files: int) -> int:
    """Print what went wrong with some of the files; return the exit code."""
    for failure in failures:
        click.echo(f"mtc-sensor: {failure}", err=True)
    if failures and files > 1:
        click.echo(f"mtc-sensor: {len(failures)} of {files} files failed", err=True)
    return 1 if failures else 0
