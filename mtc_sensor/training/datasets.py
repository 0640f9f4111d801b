"""Labelled captures as flow records: a data folder's manifest, its pcaps through `capture`."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.capture.records import CaptureFile
from mtc_sensor.errors import CaptureError
from mtc_sensor.flow import FlowBatch

MANIFEST = "manifest.csv"


@dataclass(frozen=True)
class Source:
    """One line of the manifest: a file and what is known of it."""

    path: str
    """Below the data folder."""
    set: str
    label: str
    family: str
    source: str
    """Where the file was published."""
    split: str
    """``train`` or ``val``."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Flow records with a label each; ``n`` rows."""

    flows: FlowBatch
    label: NDArray[np.int64]
    """(n,) index into the labels of the task."""
    source: NDArray[np.int64]
    """(n,) index into `sources`."""
    sources: tuple[Source, ...]

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Labelled:
        """Return the rows that `rows` (indices or a boolean mask) names."""
        return Labelled(self.flows.take(rows), self.label[rows], self.source[rows], self.sources)

    def of(self, key: Callable[[Source], str]) -> NDArray[np.str_]:
        """(n,) what `key` says of each row's source."""
        return np.array([key(source) for source in self.sources])[self.source]


def read_manifest(data: Path, sets: Iterable[str]) -> list[Source]:
    """Read the lines of the named sets. Raises CaptureError if there is no manifest."""
    wanted, keys = set(sets), Source.__dataclass_fields__
    try:
        with (data / MANIFEST).open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["set"] in wanted]
    except OSError as fault:
        raise CaptureError(f"{data / MANIFEST}: {fault.strerror}: give the data folder") from fault
    return [Source(**{key: row[key] for key in keys}) for row in rows]


def manifest_sha256(data: Path) -> str:
    """Return the hash that a bundle states of the data it was trained on."""
    return hashlib.sha256((data / MANIFEST).read_bytes()).hexdigest()


def read_pcap(path: Path, settings: FlowSettings | None = None) -> FlowBatch:
    """Return all flow records of a capture; of a damaged one, those before the damage."""
    batches: list[FlowBatch] = []
    with suppress(CaptureError):
        batches.extend(CaptureFile(path, settings))
    return FlowBatch.concat(batches or [FlowBatch.empty()])


def labelled(
    data: Path,
    sources: Sequence[Source],
    label: Callable[[Source, FlowBatch], NDArray[np.int64]],
    read: Callable[[Path], FlowBatch] = read_pcap,
) -> Labelled:
    """Read files and label their records.

    `label` gives each record of a source its label, or -1 to leave it out.
    """
    flows: list[FlowBatch] = [FlowBatch.empty()]
    labels: list[NDArray[np.int64]] = []
    for source in sources:
        batch = read(data / source.path)
        label_of = label(source, batch)
        flows.append(batch.take(label_of >= 0))
        labels.append(label_of[label_of >= 0])
    which = np.repeat(np.arange(len(sources)), [len(part) for part in labels])
    return Labelled(FlowBatch.concat(flows), np.concatenate(labels), which, tuple(sources))


def first_of_each(inputs: NDArray[np.generic], seen: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return the rows of `inputs` that are neither in `seen` nor repeat an earlier row."""
    known, digests = set(_digests(seen)), _digests(inputs)
    fresh: list[int] = []
    for row, digest in enumerate(digests):
        if digest not in known:
            known.add(digest)
            fresh.append(row)
    return np.array(fresh, np.int64)


def _digests(inputs: NDArray[np.generic]) -> list[bytes]:
    return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in inputs]
