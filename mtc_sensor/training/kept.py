"""One file of a store: its records as .npz, in parts, and a summary that is written last."""

from __future__ import annotations

import json
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.errors import CaptureError, DataError
from mtc_sensor.flow import FlowBatch
from mtc_sensor.training.flow_records import Part
from mtc_sensor.training.readers import READERS

_LABELS = "labels"


@dataclass(frozen=True)
class Job:
    """One file to be read; goes to another process."""

    path: Path
    key: str
    reader: str
    settings: FlowSettings
    folder: Path
    part_bytes: int

    def part(self, number: int) -> Path:
        """Return where a part of the records is kept."""
        return self.folder / f"{self.key}.{number}.npz"

    @property
    def summary(self) -> Path:
        """Return where `Kept` is, which is written last."""
        return self.folder / f"{self.key}.json"


@dataclass(frozen=True)
class Kept:
    """What is known of a file whose records are kept."""

    path: str
    """Where the file was when it was read; `error` names it so."""
    parts: int
    records: int
    labels: dict[str, int]
    """Records by label, where the file itself has labels."""
    dropped: dict[str, int]
    error: str
    """Why it could not be read to its end."""


def read_file(job: Job) -> Kept:
    """Read a file and keep its records."""
    dropped, labels, error = Counter[str](), Counter[str](), ""
    waiting: list[Part] = []
    parts = records = held = 0
    try:
        job.folder.mkdir(parents=True, exist_ok=True)
        try:
            for part in READERS[job.reader].read(job.path, job.settings, dropped):
                waiting.append(part)
                records += len(part[0])
                held += _size(part[0])
                if held >= job.part_bytes:
                    labels.update(_keep(job, parts, waiting))
                    parts, held = parts + 1, 0
                    waiting.clear()
        except CaptureError as fault:
            error = str(fault)
        if waiting or not parts:
            labels.update(_keep(job, parts, waiting))
            parts += 1
        kept = Kept(str(job.path), parts, records, dict(labels), dict(dropped), error)
        _write(job.summary, lambda file: file.write(json.dumps(asdict(kept)).encode()))
    except OSError as fault:
        raise DataError(
            f"{job.folder}: cannot be written: {fault.strerror}: choose another folder"
        ) from fault
    return kept


def _keep(job: Job, number: int, parts: Sequence[Part]) -> Counter[str]:
    """Write a part; return how often each label occurs in it."""
    flows = FlowBatch.concat([FlowBatch.empty(job.settings.head_bytes), *(p[0] for p in parts)])
    columns = {column.name: getattr(flows, column.name) for column in fields(flows)}
    labels = [part[1] for part in parts if part[1] is not None]
    if labels:
        columns[_LABELS] = np.concatenate(labels)
    _write(job.part(number), lambda file: np.savez_compressed(file, **columns))
    return Counter(columns[_LABELS].tolist() if labels else ())


def _write(path: Path, write: Callable[[Any], object]) -> None:
    """Write a file that is there whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            write(file)
        except BaseException:
            Path(file.name).unlink()
            raise
    Path(file.name).replace(path)


def summary_of(job: Job) -> Kept | None:
    """Return what is known of a file, or None if it has to be read."""
    try:
        kept = Kept(**json.loads(job.summary.read_bytes()))
        return kept if all(job.part(i).is_file() for i in range(kept.parts)) else None
    except (OSError, ValueError, TypeError):
        return None


def load_file(job: Job) -> tuple[FlowBatch, NDArray[np.str_] | None]:
    """Return a file's records and their labels; a part that was damaged on disk is made anew."""
    kept = summary_of(job)
    try:
        parts = [_part(job.part(i)) for i in range(kept.parts if kept else 0)]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        parts = [_part(job.part(i)) for i in range(read_file(job).parts)]
    labels = [label for _, label in parts if label is not None]
    flows = FlowBatch.concat([flows for flows, _ in parts])
    return flows, np.concatenate(labels) if labels else None


def _part(path: Path) -> Part:
    with np.load(path, allow_pickle=False) as columns:
        flows = FlowBatch(**{column.name: columns[column.name] for column in fields(FlowBatch)})
        return flows, columns.get(_LABELS)


def _size(flows: FlowBatch) -> int:
    return sum(getattr(flows, column.name).nbytes for column in fields(flows))
