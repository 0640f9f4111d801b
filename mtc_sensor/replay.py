"""Captures through the models, file by file, in one process or several."""

from __future__ import annotations

import itertools
import multiprocessing
import queue
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.capture.records import CaptureCounts, CaptureFile
from mtc_sensor.errors import CaptureError
from mtc_sensor.flow import FlowBatch, Kind, unpack_samples
from mtc_sensor.inference import Model, judge_records, load_models, settings_for
from mtc_sensor.verdict import Verdicts

_STEPS_AHEAD = 64
"""Steps that a worker may be ahead of the reader of its results: the bound on what waits."""


@dataclass(frozen=True)
class Setup:
    """What every process needs to judge a capture."""

    models: tuple[str, ...]
    """Names or folders of bundles."""
    device: str = "auto"
    flows: FlowSettings = field(default_factory=FlowSettings)


@dataclass(frozen=True, eq=False)
class Talkers:
    """Originators of some records: ``n`` hosts."""

    host: NDArray[np.uint8]
    """(n, 16) distinct addresses."""
    flows: NDArray[np.int64]
    """(n,) connections that ended."""
    bytes: NDArray[np.int64]
    """(n,) IP bytes of the sampled packets, both directions."""

    @classmethod
    def of(cls, records: FlowBatch) -> Talkers:
        """Add records up; early ones hold nothing that blocks and finals do not."""
        records = records.take(records.kind != Kind.EARLY)
        hosts, which = np.unique(
            np.ascontiguousarray(records.orig_h).view("V16").ravel(), return_inverse=True
        )
        size = len(hosts)
        lengths = unpack_samples(records.samples).ip_len.astype(np.float64)
        ended = which[records.kind == Kind.FINAL]
        return cls(
            host=hosts.view(np.uint8).reshape(-1, 16),
            flows=np.bincount(ended, minlength=size),
            bytes=np.bincount(which[records.sample_rows()], lengths, size).astype(np.int64),
        )


@dataclass(frozen=True, eq=False)
class Step:
    """What one chunk of a capture gave."""

    file: int
    """Which of the files."""
    bytes_read: int
    """Of the file, so far."""
    counts: CaptureCounts
    """Of the file, so far."""
    kinds: tuple[int, ...]
    """Records of this step by `Kind`."""
    talkers: Talkers
    verdicts: Verdicts
    error: CaptureError | None = None
    """Why reading ended early; on a file's last step only."""
    last: bool = False
    """The file has no more."""


def replay(paths: Sequence[Path], setup: Setup, workers: int = 1) -> Iterator[Step]:
    """Judge captures, in their order, whatever the number of worker processes.

    Raises BundleError at once, before the first step is asked for. An unreadable file ends with a
    step whose `error` says why; the next file follows.
    """
    models = load_models(setup.models, setup.device)
    if workers > 1 and len(paths) > 1:
        return _in_processes(paths, setup, min(workers, len(paths)))
    steps = (_judge_file(file, path, setup, models) for file, path in enumerate(paths))
    return itertools.chain.from_iterable(steps)


def _judge_file(file: int, path: Path, setup: Setup, models: Sequence[Model]) -> Iterator[Step]:
    progress = _Progress()
    capture = CaptureFile(path, settings_for(models, setup.flows), progress)
    error: CaptureError | None = None
    try:
        for records in capture:
            yield _step(file, progress.bytes_read, capture.counts, records, models)
    except CaptureError as fault:
        error = fault
    nothing = FlowBatch.empty()
    yield _step(file, progress.bytes_read, capture.counts, nothing, models, error=error, last=True)


class _Progress:
    bytes_read = 0

    def __call__(self, bytes_read: int, packets: int) -> None:
        self.bytes_read = bytes_read


def _step(
    file: int,
    bytes_read: int,
    counts: CaptureCounts,
    records: FlowBatch,
    models: Sequence[Model],
    error: CaptureError | None = None,
    last: bool = False,
) -> Step:
    return Step(
        file=file,
        bytes_read=bytes_read,
        counts=counts.copy(),
        kinds=tuple(np.bincount(records.kind, minlength=len(Kind)).tolist()),
        talkers=Talkers.of(records),
        verdicts=judge_records(models, records),
        error=error,
        last=last,
    )


def _in_processes(paths: Sequence[Path], setup: Setup, workers: int) -> Iterator[Step]:
    """Deal the files out in turn and read the results in the files' order.

    A worker whose results are not being read yet waits once it is `_STEPS_AHEAD` ahead, so memory
    stays bounded and the order does not depend on timing.
    """
    context = multiprocessing.get_context("spawn")
    queues = [context.Queue(_STEPS_AHEAD) for _ in range(workers)]
    processes = [
        context.Process(target=_work, args=(paths, setup, first, workers, results), daemon=True)
        for first, results in enumerate(queues)
    ]
    try:
        for process in processes:
            process.start()
        for file, path in enumerate(paths):
            results, process = queues[file % workers], processes[file % workers]
            while not (step := _next_step(results, process, path)).last:
                yield step
            yield step
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _work(
    paths: Sequence[Path],
    setup: Setup,
    first: int,
    workers: int,
    results: multiprocessing.Queue[Step],
) -> None:
    models = load_models(setup.models, setup.device)
    for file in range(first, len(paths), workers):
        for step in _judge_file(file, paths[file], setup, models):
            results.put(step)


def _next_step(results: multiprocessing.Queue[Step], process: BaseProcess, path: Path) -> Step:
    while True:
        try:
            return results.get(timeout=1.0)
        except queue.Empty:
            if not process.is_alive() and results.empty():
                raise CaptureError(
                    f"{path}: the worker process that read it ended with code {process.exitcode}; "
                    "-9 means that memory ran out: use fewer --workers"
                ) from None
