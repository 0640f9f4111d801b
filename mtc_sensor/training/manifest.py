"""The one way into training and evaluation: a CSV that says which file holds what.

One line per file, with a header. ``path`` (relative to the manifest's folder) and ``label`` have to
be there; ``set``, ``family``, ``source``, ``capture_date`` and ``split`` are used where they are.
Other columns are left alone.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from mtc_sensor.errors import DataError

MANIFEST = "manifest.csv"
"""What a manifest is called where only its folder is named."""
TRAIN, VAL = "train", "val"
_REQUIRED = ("path", "label")
_MAX_BYTES = 1 << 28


@dataclass(frozen=True)
class Source:
    """One line of a manifest: a file and what is known of it."""

    path: str
    """Below the manifest's folder."""
    label: str
    set: str = ""
    """The data set that it belongs to."""
    family: str = ""
    """Malware family or application."""
    source: str = ""
    """Where the file was published."""
    capture_date: str = ""
    """As an ISO date, so that text sorts by time."""
    split: str = TRAIN
    """``train``, ``val``, or the name of another part."""


@dataclass(frozen=True)
class Manifest:
    """The files of a data set."""

    root: Path
    """The folder that paths are relative to."""
    sources: tuple[Source, ...]
    sha256: str
    """Of the CSV: what a bundle states about the data that it was trained on."""

    def path(self, source: Source) -> Path:
        """Return where a source's file is."""
        return self.root / source.path


def read_manifest(where: Path | str, sets: Iterable[str] | None = None) -> Manifest:
    """Read a manifest, or the `MANIFEST` in a folder; with `sets` only the lines of these.

    Raises
    ------
    DataError
        It cannot be read, is no CSV with the required columns, or names nothing.
    """
    file = Path(where)
    file = file / MANIFEST if file.is_dir() else file
    raw = _content(file)
    wanted = None if sets is None else set(sets)
    sources = [s for s in _sources(file, raw) if wanted is None or s.set in wanted]
    if not sources:
        which = f"no line of the sets {', '.join(sorted(wanted))}" if wanted else "no line"
        raise DataError(f"{file}: {which}: add one for each file, with at least path and label")
    return Manifest(file.parent, tuple(sources), hashlib.sha256(raw).hexdigest())


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            raw = stream.read(_MAX_BYTES + 1)
    except OSError as fault:
        raise DataError(
            f"{file}: cannot be read: {fault.strerror}; give a CSV with the columns path and "
            f"label, or a folder that has it as {MANIFEST}"
        ) from fault
    if len(raw) > _MAX_BYTES:
        raise DataError(f"{file}: larger than {_MAX_BYTES >> 20} MiB: this is no manifest")
    return raw


def _sources(file: Path, raw: bytes) -> list[Source]:
    try:
        reader = csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True)
        columns = reader.fieldnames or ()
        for name in _REQUIRED:
            if name not in columns:
                raise DataError(
                    f"{file}: line 1: no column {name!r} among {', '.join(columns)!r:.200}: "
                    "the first line names the columns, at least path,label"
                )
        return [_source(file, reader.line_num, row) for row in reader]
    except UnicodeDecodeError as fault:
        raise DataError(f"{file}: byte {fault.start} is not UTF-8: save it as UTF-8 CSV") from fault
    except csv.Error as fault:
        line = reader.reader.line_num
        raise DataError(f"{file}: line {line}: {fault}: correct the CSV") from fault


def _source(file: Path, line: int, row: dict[str, str | None]) -> Source:
    known = {f.name: (row.get(f.name) or "").strip() for f in fields(Source)}
    for name in _REQUIRED:
        if not known[name]:
            raise DataError(f"{file}: line {line}: column {name} is empty: fill it in")
    if ".." in Path(known["path"]).parts:
        raise DataError(
            f"{file}: line {line}: column path: {known['path']!r} leaves the manifest's folder: "
            "move the file below it, or give an absolute path"
        )
    known["split"] = known["split"] or TRAIN
    return Source(**known)
