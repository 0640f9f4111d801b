"""How the files of a manifest are read: by what they are called, and by the set they are in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.training import documents, times_sizes
from mtc_sensor.training.capture_reader import read_applications, read_capture
from mtc_sensor.training.flow_records import Part
from mtc_sensor.training.manifest import Source
from mtc_sensor.training.zeek_reader import read_zeek

Read: TypeAlias = Callable[[Path, FlowSettings, Counter[str]], Iterator[Part]]
"""Yields a file's records and counts what is not in them. Raises CaptureError where it ends."""


class Reader(NamedTuple):
    """A way to read a file."""

    read: Read
    version: int = 1
    """Raised when the same file gives other records."""
    beside: bool = False
    """Whether labels are in the file that `files.beside` names."""


def _plain(read: Callable[[Path, FlowSettings], Iterator[Part]]) -> Read:
    return lambda path, settings, dropped: read(path, settings)


CAPTURE = "capture"
READERS: dict[str, Reader] = {
    CAPTURE: Reader(read_capture),
    "zeek": Reader(read_zeek),
    "apps": Reader(read_applications),
    "joy": Reader(_plain(times_sizes.read_joy)),
    "arrays": Reader(_plain(times_sizes.read_arrays)),
    "signed-sizes": Reader(_plain(times_sizes.read_signed_sizes)),
    "ode": Reader(_plain(times_sizes.read_ode), beside=True),
    "zeek-log": Reader(_plain(documents.read_zeek_log)),
    "packet-rows": Reader(_plain(documents.read_packet_rows)),
    "vectors": Reader(_plain(documents.read_vectors), beside=True),
}
_SUFFIXES = {
    ".json": "joy",
    ".npz": "arrays",
    ".npy": "ode",
    ".csv": "signed-sizes",
    ".txt": "vectors",
}
_SETS = {"xidian-tf": "packet-rows"}


def reader_of(source: Source) -> str | None:
    """Return the name of the reader of a file; None for one that only accompanies others."""
    name = Path(source.path).name.removesuffix(".gz").removesuffix(".labeled")
    if source.label == "index" or name.startswith("y_") or "_y." in name:
        return None
    if name.endswith(".log"):
        return "zeek-log" if name.split(".")[0] in documents.LOGS else None
    return _SETS.get(source.set) or _SUFFIXES.get(Path(name).suffix, CAPTURE)
