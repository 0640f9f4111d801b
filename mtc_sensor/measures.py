"""What the sensor's loop measures of itself; `mtc_sensor.metrics` shows it to others.

Writing is cheap and takes no lock: every name has one thread that writes it. `read` copies
everything, at any time and from any thread; a sum and its histogram may then be one batch apart.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.streams import Totals

SECONDS = tuple(1e-5 * 2.0 ** (step / 2) for step in range(48))
"""Edges for times: from 10 us to two minutes, each √2 times the one before."""
SIZES = tuple(float(1 << step) for step in range(11))
"""Edges for batches: 1 to 1024 samples."""


@dataclass(frozen=True)
class Binned:
    """A histogram as it was read.

    Parameters
    ----------
    edges
        Upper edges of the bins, each inclusive; one more bin has no upper edge.
    counts
        (edges + 1,) values in each bin.
    total
        Sum of the values.
    """

    edges: tuple[float, ...]
    counts: NDArray[np.int64]
    total: float


class Histogram:
    """Counts of values between fixed edges."""

    def __init__(self, edges: tuple[float, ...]) -> None:
        self._edges = edges
        self._array = np.array(edges)
        self._counts = np.zeros(len(edges) + 1, np.int64)
        self._total = 0.0

    def add(self, value: float) -> None:
        """Count one value; a negative one, which no clock should give, as 0."""
        value = max(value, 0.0)
        self._counts[bisect_left(self._edges, value)] += 1
        self._total += value

    def add_all(self, values: NDArray[np.floating]) -> None:
        """Count (n,) values."""
        values = np.maximum(values, 0.0)
        bins = np.searchsorted(self._array, values)
        self._counts += np.bincount(bins, minlength=len(self._counts))
        self._total += float(values.sum())

    def read(self) -> Binned:
        """Return a copy."""
        return Binned(self._edges, self._counts.copy(), self._total)


@dataclass(frozen=True)
class Reading:
    """Everything that was measured up to now."""

    stages: dict[str, Binned]
    """Seconds that a stage took, by its name."""
    batches: dict[str, Binned]
    """Samples that a model judged together, by its name."""
    wait: Binned
    """Seconds that samples waited for a batch."""
    added: Binned
    """Seconds from the batch to its published verdicts, per sample."""
    verdicts: dict[tuple[str, str], int]
    """Verdicts by model and label."""
    shed: dict[str, int]
    """Samples that were not judged, or not by all models, or not explained, by the reason."""
    queues: dict[str, int]
    """What waits now, by the queue's name."""
    versions: dict[str, str]
    """Versions of the loaded models, by name."""
    nodes: dict[str, Totals]
    """What became of each exporter's samples, by its node."""
    dropped: dict[str, int]
    """Events that were not taken, by the reason."""
    connected: bool
    """Whether exporters can be reached."""
    idle_s: float
    """Seconds since the loop last came round."""


class _State(NamedTuple):
    nodes: dict[str, Totals]
    dropped: dict[str, int]
    connected: bool
    at: float


class Measures:
    """Counters and histograms since the start.

    Parameters
    ----------
    clock
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stages: dict[str, Histogram] = {}
        self._batches: dict[str, Histogram] = {}
        self._wait = Histogram(SECONDS)
        self._added = Histogram(SECONDS)
        self._verdicts = Counter[tuple[str, str]]()
        self._shed = Counter[str]()
        self._queues: dict[str, int] = {}
        self._versions: dict[str, str] = {}
        self._state = _State({}, {}, False, clock())

    def state(
        self, nodes: Mapping[str, Totals], dropped: Mapping[str, int], connected: bool
    ) -> None:
        """Note where the loop stands; that it calls this shows that it is alive.

        All three are of one moment between two steps of the loop: no sample is counted twice, or
        not at all, whenever somebody reads.
        """
        self._state = _State(dict(nodes), dict(dropped), connected, self._clock())

    def stage(self, name: str, seconds: float) -> None:
        """Count what one run of a stage took: receive, decode, batch, infer or publish."""
        _of(self._stages, name, SECONDS).add(seconds)

    def batch(self, model: str, size: int) -> None:
        """Count the samples that a model judged together."""
        _of(self._batches, model, SIZES).add(size)

    def judged(self, wait_s: NDArray[np.floating], added_s: NDArray[np.floating]) -> None:
        """Count, for each of (n,) samples, its time in the queue, and in models and publishing."""
        self._wait.add_all(wait_s)
        self._added.add_all(added_s)

    def verdict(self, model: str, label: str, count: int = 1) -> None:
        """Count verdicts of a model."""
        self._verdicts[model, label] += count

    def shed(self, reason: str, count: int = 1) -> None:
        """Count samples that were not judged; with ``skipped:<model>`` not by that model.

        With ``unexplained:<model>``: malicious verdicts that do not say what decided them.
        """
        self._shed[reason] += count

    def queue(self, name: str, depth: int) -> None:
        """Note how many wait in a queue now: messages in `inbox`, samples in `batcher`."""
        self._queues[name] = depth

    def models(self, names_and_versions: Mapping[str, str]) -> None:
        """Note which models are loaded; they replace those of before."""
        self._versions = dict(names_and_versions)

    def read(self) -> Reading:
        """Return a copy of everything; any thread may call it."""
        state = self._state
        return Reading(
            stages={name: one.read() for name, one in self._stages.copy().items()},
            batches={name: one.read() for name, one in self._batches.copy().items()},
            wait=self._wait.read(),
            added=self._added.read(),
            verdicts=dict(self._verdicts.copy()),
            shed=dict(self._shed.copy()),
            queues=self._queues.copy(),
            versions=self._versions,
            nodes=state.nodes,
            dropped=state.dropped,
            connected=state.connected,
            idle_s=self._clock() - state.at,
        )


def _of(histograms: dict[str, Histogram], name: str, edges: tuple[float, ...]) -> Histogram:
    found = histograms.get(name)
    if found is None:
        found = histograms[name] = Histogram(edges)
    return found
