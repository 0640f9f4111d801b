"""Flow records of a manifest's files, read once and kept: one .npz per file and part of it.

A file's key is the SHA-256 of its content, of how it is read, of the flow settings and of the
store's format: what changes is read again, what only moves is not. Nothing in a store is pickled.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.errors import DataError
from mtc_sensor.flow import FlowBatch
from mtc_sensor.training.files import beside
from mtc_sensor.training.kept import Job, Kept, load_file, read_file, summary_of
from mtc_sensor.training.manifest import Manifest, Source
from mtc_sensor.training.readers import CAPTURE, READERS, reader_of

FORMAT = 1
"""Raised when a store of an older version cannot be read any more, or `capture` changed."""
PART_BYTES = 256 << 20
"""Of records that are held before they are written."""

Progress: TypeAlias = Callable[[int, int, str], None]
"""Told after each file: how many are done, of how many, and which it was."""

_CAPTURES = "captures"
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
    labels: Counter[str] = field(default_factory=Counter)
    """Records by label, of files that have labels themselves."""
    dropped: Counter[str] = field(default_factory=Counter)
    """What is not in the records, by reason."""
    damaged: dict[str, str] = field(default_factory=dict)
    """Files that could not be read to their end, by path, and why; what came before is kept."""
    left_out: list[str] = field(default_factory=list)
    """Files without records of their own: indices, and labels that other files' readers use."""

    def as_json(self) -> dict[str, object]:
        """Return the object that ``--json`` prints."""
        return vars(self)

    def add(self, source: Source, path: Path, kept: Kept, *, cached: bool) -> None:
        """Count one file."""
        self.files += 1
        self.cached += cached
        self.records += kept.records
        self.labels.update(kept.labels)
        self.dropped.update(kept.dropped)
        if kept.error:
            self.damaged[source.path] = kept.error.replace(kept.path, str(path))


class Store:
    """Keeps records in a folder.

    Parameters
    ----------
    folder
        Where; made when the first file is kept.
    settings
        How flows are assembled. Other settings give other files: one folder may hold several.
    captures
        Name of the reader of captures: ``capture``, ``zeek`` or ``apps``. A folder keeps the one
        that it was first built with; None takes it, or ``capture``.
    part_bytes
        Records that a worker holds, about, before it writes a part.

    Raises
    ------
    DataError
        The folder was built with another reader of captures.
    """

    def __init__(
        self,
        folder: Path | str,
        settings: FlowSettings | None = None,
        *,
        captures: str | None = None,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self.folder = Path(folder)
        self.settings = settings or FlowSettings()
        self._captures = _remembered(self.folder, captures)
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
                for one, batch in _by_label(source, *load_file(job)):
                    named.append(one)
                    flows.append(batch)
        which = np.repeat(np.arange(len(named)), [len(batch) for batch in flows[1:]])
        return Records(FlowBatch.concat(flows), which, tuple(named), built.damaged)

    def sources(
        self, manifest: Manifest, workers: int = 1, progress: Progress | None = None
    ) -> tuple[Source, ...]:
        """Return a manifest's sources as `Records` has them, with the labels that files have."""
        _, jobs = self._build(manifest, manifest.sources, workers, progress)
        named = list[Source]()
        for source, job in zip(manifest.sources, jobs, strict=True):
            kept = summary_of(job) if job else None
            if kept:
                named += [replace(source, label=label) for label in kept.labels] or [source]
        return tuple(named)

    def _build(
        self,
        manifest: Manifest,
        sources: Sequence[Source],
        workers: int,
        progress: Progress | None,
    ) -> tuple[Built, list[Job | None]]:
        """Return what building came to, and the job of each source that has records."""
        built = Built()
        _remember(self.folder, self._captures)
        jobs = [self._job(manifest.path(source), source, built) for source in sources]
        known = {job.key: summary_of(job) for job in jobs if job}
        new = {job.key: job for job in jobs if job and known[job.key] is None}
        done = len(sources) - len(new)
        for job, kept in _run(list(new.values()), workers):
            known[job.key] = kept
            done += 1
            if progress is not None:
                progress(done, len(sources), job.path.name)
        for source, which in zip(sources, jobs, strict=True):
            if which and (result := known[which.key]):
                built.add(source, which.path, result, cached=which.key not in new)
        return built, jobs

    def _job(self, path: Path, source: Source, built: Built) -> Job | None:
        reader = reader_of(source)
        if reader is None:
            built.left_out.append(source.path)
            return None
        reader = self._captures if reader == CAPTURE else reader
        try:
            key = self._key(path, reader)
        except OSError as fault:
            built.damaged[source.path] = f"{path}: cannot be read: {fault.strerror}"
            return None
        return Job(path, key, reader, self.settings, self.folder, self._part_bytes)

    def _key(self, path: Path, reader: str) -> str:
        """Return the name of a file's records. Raises OSError."""
        how = [FORMAT, reader, READERS[reader].version, asdict(self.settings)]
        digest = hashlib.sha256(json.dumps(how).encode())
        for each in (path, beside(path)) if READERS[reader].beside else (path,):
            with each.open("rb") as file:
                while chunk := file.read(_HASHED_AT_ONCE):
                    digest.update(chunk)
        return digest.hexdigest()


def _remembered(folder: Path, captures: str | None) -> str:
    """Return how a store reads captures. Raises DataError if `captures` is something else."""
    try:
        known = (folder / _CAPTURES).read_text().strip()
    except OSError:
        fresh = not any(folder.glob("*.json"))
        known = captures if captures and fresh else CAPTURE
    if known not in READERS or (captures and captures != known):
        raise DataError(
            f"{folder}: this store was built with another reader of captures ({known!r:.40}): "
            "choose another folder"
        )
    return known


def _remember(folder: Path, captures: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if captures != CAPTURE:
            (folder / _CAPTURES).write_text(captures)
    except OSError as fault:
        raise DataError(
            f"{folder}: cannot be written: {fault.strerror}: choose another folder"
        ) from fault


def _all(manifest: Manifest, sources: Sequence[Source] | None) -> Sequence[Source]:
    return manifest.sources if sources is None else sources


def _run(jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, Kept]]:
    """Do the jobs, in any order; the processes are the parallelism."""
    if workers <= 1 or len(jobs) <= 1:
        yield from ((job, read_file(job)) for job in jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context) as pool:
        running = {pool.submit(read_file, job): job for job in jobs}
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


def _by_label(
    source: Source, flows: FlowBatch, labels: NDArray[np.str_] | None
) -> Iterator[tuple[Source, FlowBatch]]:
    """Yield a file's records; those with labels of their own as a source for each label."""
    if labels is None:
        yield source, flows
        return
    for label in np.unique(labels).tolist():
        yield replace(source, label=label), flows.take(labels == label)
