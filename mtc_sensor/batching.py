"""Samples between receiving and judging: which are judged together, when, and which are shed.

Pure: samples go in with the time, and the time says what is due.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.config import BatchConfig, OverloadConfig
from mtc_sensor.flow import Kind
from mtc_sensor.wire.records import Records

Waiting: TypeAlias = tuple[Records, float]
"""Samples that came together, and when."""


class Batcher:
    """Samples that wait for the models.

    Parameters
    ----------
    config
        How many are judged together, and how long one waits for others.
    overload
        When models are left out, and when samples are shed; None for never.
    """

    def __init__(
        self, config: BatchConfig | None = None, overload: OverloadConfig | None = None
    ) -> None:
        config = config or BatchConfig()
        # More than `shed_at` never wait: a batch that needs more would never be full.
        self._size = min(config.size, overload.shed_at if overload else config.size)
        self._wait_s = config.wait_ms / 1000
        self._overload = overload
        self._waiting: list[Waiting] = []

    def __len__(self) -> int:
        return sum(len(records) for records, _ in self._waiting)

    @property
    def strain(self) -> float:
        """How full it is: 0 below `skip_at`, 1 from `shed_at` on, and evenly between them."""
        if self._overload is None or len(self) < self._overload.skip_at:
            return 0.0
        above = len(self) - self._overload.skip_at + 1
        return min(above / (self._overload.shed_at - self._overload.skip_at + 1), 1.0)

    @property
    def policy(self) -> str:
        """What `shed` goes by."""
        return "" if self._overload is None else self._overload.policy

    def add(self, records: Records, now: float) -> None:
        """Let samples wait."""
        self._waiting.append((records, now))

    def due_in(self, now: float) -> float | None:
        """Return the seconds until a batch is due, 0 if one is; None if nothing waits."""
        if not self._waiting:
            return None
        if len(self) >= self._size:
            return 0.0
        return max(self._waiting[0][1] + self._wait_s - now, 0.0)

    def take(self, now: float) -> tuple[list[Records], NDArray[np.float64]]:
        """Return the next batch, the samples of a stream together, and (n,) seconds of waiting."""
        batch, self._waiting = _split(self._waiting, self._size)
        batch.sort(key=lambda waiting: waiting[0].stream)
        since = np.repeat([at for _, at in batch], [len(records) for records, _ in batch])
        return _joined(batch), now - since

    def shed(self) -> list[Records]:
        """Take out what is more than `shed_at`, chosen by the policy."""
        if self._overload is None or len(self) <= self._overload.shed_at:
            return []
        kinds = np.concatenate([records.kind for records, _ in self._waiting])
        gone = np.zeros(len(self), np.bool_)
        gone[_CHOOSE[self._overload.policy](kinds)[self._overload.shed_at :]] = True
        shed, self._waiting = _picked(self._waiting, gone), _picked(self._waiting, ~gone)
        return [records for records, _ in shed]


def _split(waiting: list[Waiting], size: int) -> tuple[list[Waiting], list[Waiting]]:
    """Return the first `size` samples, and the rest."""
    length = 0
    for place, (records, at) in enumerate(waiting):
        length += len(records)
        if length > size:
            cut = len(records) - (length - size)
            first = (records.take(range(cut)), at)
            rest = (records.take(range(cut, len(records))), at)
            return [*waiting[:place], first], [rest, *waiting[place + 1 :]]
    return waiting, []


def _joined(batch: list[Waiting]) -> list[Records]:
    streams = groupby((records for records, _ in batch), key=lambda records: records.stream)
    return [Records.concat(list(parts)) for _, parts in streams]


def _picked(waiting: list[Waiting], chosen: NDArray[np.bool_]) -> list[Waiting]:
    """Return the `chosen` samples, where there are some."""
    found, begin = [], 0
    for records, at in waiting:
        rows = np.flatnonzero(chosen[begin : begin + len(records)])
        begin += len(records)
        if len(rows):
            found.append((records.take(rows), at))
    return found


_CHOOSE: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.int64]]] = {
    "newest": lambda kinds: np.arange(len(kinds)),
    "oldest": lambda kinds: np.arange(len(kinds))[::-1],
    # With early records a connection is judged while it lasts. Of equals the newest are kept.
    "early-first": lambda kinds: np.lexsort((-np.arange(len(kinds)), kinds != Kind.EARLY)),
}
"""Positions by kind, in the order in which samples are kept: the rest is shed."""
