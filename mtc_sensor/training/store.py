"""Flow records of a manifest's files, read once and kept: one .npz per file and part of it.

A file's key is the SHA-256 of its content, of how it is read, of the flow settings and of the
store's format: what changes is read again, what only moves is not. Nothing in a store is pickled.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.errors import CaptureError, DataError
from mtc_sensor.flow import FlowBatch
from mtc_sensor.training.manifest import Manifest, Source
from mtc_sensor.training.readers import READERS, reader_of
from mtc_sensor.training.times_sizes import Part, beside

FORMAT = 1
"""Raised when a store of an older version cannot be read any more, or `capture` changed."""
PART_BYTES = 256 << 20
"""Of records that are held before they are written."""

Progress: TypeAlias = Callable[[int, int, str], None]
"""Told after each file: how many are done, of how many, and which it was."""

_LABELS = "labels"
_HASHED_AT_ONCE = 1 << 20


@dataclass(frozen=True, eq=False)
class Records:
    """The flow records of files; ``n`` rows."""

    flows: FlowBatch
    source: NDArray[np.int64]
    """(n,) index into `sources`, not decreasing."""
    sources: tuple[Source, ...]
    """A file whose records have labels of their own is in it once for each label."""
    damaged: dict[str, str]
    """Files that could not be read to their end, by path, and why."""


@dataclass
class Built:
    """What building a store came to."""

    files: int = 0
    cached: int = 0
    """Files that were there already."""
    records: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """What is not in the records, by reason."""
    damaged: dict[str, str] = field(default_factory=dict)
    """Files that could not be read to their end, by path, and why; what came before is kept."""
    left_out: list[str] = field(default_factory=list)
    """Files without records of their own: indices, and labels that other files' readers use."""

    def add(self, source: Source, kept: _Kept, *, cached: bool) -> None:
        """Count one file."""
        self.files += 1
        self.cached += cached
        self.records += kept.records
        self.dropped.update(kept.dropped)
        if kept.error:
            self.damaged[source.path] = kept.error


@dataclass(frozen=True)
class _Job:
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
        """Return where `_Kept` is, which is written last."""
        return self.folder / f"{self.key}.json"


@dataclass(frozen=True)
class _Kept:
    """What is known of a file whose records are kept."""

    parts: int
    records: int
    dropped: dict[str, int]
    error: str
    """Why it could not be read to its end."""


class Store:
    """Keeps records in a folder.

    Parameters
    ----------
    folder
        Where; made when the first file is kept.
    settings
        How flows are assembled. Other settings give other files: one folder may hold several.
    part_bytes
        Records that a worker holds, about, before it writes a part.
    """

    def __init__(
        self,
        folder: Path | str,
        settings: FlowSettings | None = None,
        *,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self.folder = Path(folder)
        self.settings = settings or FlowSettings()
        self._part_bytes = part_bytes

    def build(
        self,
        manifest: Manifest,
        sources: Sequence[Source] | None = None,
        workers: int = 1,
        progress: Progress | None = None,
    ) -> Built:
        """Read the files of `sources` (or all) that are not kept yet, in `workers` processes.

        Raises DataError if the folder cannot be written, or a worker runs out of memory.
        """
        return self._build(manifest, _all(manifest, sources), workers, progress)[0]

    def records(
        self,
        manifest: Manifest,
        sources: Sequence[Source] | None = None,
        workers: int = 1,
        progress: Progress | None = None,
    ) -> Records:
        """Return the records of `sources` (or of all), reading the files that are not kept yet."""
        chosen = _all(manifest, sources)
        built, jobs = self._build(manifest, chosen, workers, progress)
        flows, named = [FlowBatch.empty(self.settings.head_bytes)], list[Source]()
        for source, job in zip(chosen, jobs, strict=True):
            if job is not None:
                for one, batch in _by_label(source, *_load(job)):
                    named.append(one)
                    flows.append(batch)
        which = np.repeat(np.arange(len(named)), [len(batch) for batch in flows[1:]])
        return Records(FlowBatch.concat(flows), which, tuple(named), built.damaged)

    def _build(
        self,
        manifest: Manifest,
        sources: Sequence[Source],
        workers: int,
        progress: Progress | None,
    ) -> tuple[Built, list[_Job | None]]:
        """Return what building came to, and the job of each source that has records."""
        built = Built()
        jobs = [self._job(manifest.path(source), source, built) for source in sources]
        known = {job.key: _kept(job) for job in jobs if job}
        new = {job.key: job for job in jobs if job and known[job.key] is None}
        done = len(sources) - len(new)
        for job, kept in _run(list(new.values()), workers):
            known[job.key] = kept
            done += 1
            if progress is not None:
                progress(done, len(sources), job.path.name)
        for source, which in zip(sources, jobs, strict=True):
            if which and (result := known[which.key]):
                built.add(source, result, cached=which.key not in new)
        return built, jobs

    def _job(self, path: Path, source: Source, built: Built) -> _Job | None:
        reader = reader_of(source)
        if reader is None:
            built.left_out.append(source.path)
            return None
        try:
            key = self._key(path, reader)
        except OSError as fault:
            built.damaged[source.path] = f"{path}: cannot be read: {fault.strerror}"
            return None
        return _Job(path, key, reader, self.settings, self.folder, self._part_bytes)

    def _key(self, path: Path, reader: str) -> str:
        """Return the name of a file's records. Raises OSError."""
        how = [FORMAT, reader, READERS[reader].version, asdict(self.settings)]
        digest = hashlib.sha256(json.dumps(how).encode())
        for each in (path, beside(path)) if READERS[reader].beside else (path,):
            with each.open("rb") as file:
                while chunk := file.read(_HASHED_AT_ONCE):
                    digest.update(chunk)
        return digest.hexdigest()


def _all(manifest: Manifest, sources: Sequence[Source] | None) -> Sequence[Source]:
    return manifest.sources if sources is None else sources


def _run(jobs: Sequence[_Job], workers: int) -> Iterator[tuple[_Job, _Kept]]:
    """Do the jobs, in any order; the processes are the parallelism."""
    if workers <= 1 or len(jobs) <= 1:
        yield from ((job, _read(job)) for job in jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context) as pool:
        running = {pool.submit(_read, job): job for job in jobs}
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        except BrokenProcessPool as fault:
            raise DataError(
                "a process that read captures was ended, which means that memory ran out: "
                "use fewer --workers or a smaller --split-size"
            ) from fault
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _read(job: _Job) -> _Kept:
    """Read a file and keep its records."""
    dropped, error = Counter[str](), ""
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
                    _keep(job.part(parts), waiting)
                    parts, held = parts + 1, 0
                    waiting.clear()
        except CaptureError as fault:
            error = str(fault)
        if waiting or not parts:
            _keep(job.part(parts), waiting)
            parts += 1
        kept = _Kept(parts, records, dict(dropped), error)
        _write(job.summary, lambda file: file.write(json.dumps(asdict(kept)).encode()))
    except OSError as fault:
        raise DataError(
            f"{job.folder}: cannot be written: {fault.strerror}: choose another folder"
        ) from fault
    return kept


def _keep(path: Path, parts: Sequence[Part]) -> None:
    flows = FlowBatch.concat([part[0] for part in parts] or [FlowBatch.empty()])
    columns = {column.name: getattr(flows, column.name) for column in fields(flows)}
    labels = [part[1] for part in parts if part[1] is not None]
    if labels:
        columns[_LABELS] = np.concatenate(labels)
    _write(path, lambda file: np.savez_compressed(file, **columns))


def _write(path: Path, write: Callable[[Any], object]) -> None:
    """Write a file that is there whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            write(file)
        except BaseException:
            Path(file.name).unlink()
            raise
    Path(file.name).replace(path)


def _kept(job: _Job) -> _Kept | None:
    """Return what is known of a file, or None if it has to be read."""
    try:
        kept = _Kept(**json.loads(job.summary.read_bytes()))
        return kept if all(job.part(i).is_file() for i in range(kept.parts)) else None
    except (OSError, ValueError, TypeError):
        return None


def _load(job: _Job) -> tuple[FlowBatch, NDArray[np.str_] | None]:
    """Return a file's records and their labels; a part that was damaged on disk is made anew."""
    kept = _kept(job)
    try:
        parts = [_part(job.part(i)) for i in range(kept.parts if kept else 0)]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        parts = [_part(job.part(i)) for i in range(_read(job).parts)]
    labels = [label for _, label in parts if label is not None]
    flows = FlowBatch.concat([flows for flows, _ in parts])
    return flows, np.concatenate(labels) if labels else None


def _part(path: Path) -> Part:
    with np.load(path, allow_pickle=False) as columns:
        flows = FlowBatch(**{column.name: columns[column.name] for column in fields(FlowBatch)})
        return flows, columns.get(_LABELS)


def _by_label(
    source: Source, flows: FlowBatch, labels: NDArray[np.str_] | None
) -> Iterator[tuple[Source, FlowBatch]]:
    """Yield a file's records; those with labels of their own as a source for each label."""
    if labels is None:
        yield source, flows
        return
    for label in np.unique(labels).tolist():
        yield replace(source, label=label), flows.take(labels == label)


def _size(flows: FlowBatch) -> int:
    return sum(getattr(flows, column.name).nbytes for column in fields(flows))
