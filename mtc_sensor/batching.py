"""Samples between receiving and judging: which are judged together, when, and which are shed.

Pure: samples go in with the time, and the time says what is due.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.config import BatchConfig, OverloadConfig
from mtc_sensor.flow import Kind
from mtc_sensor.wire.events import Sample


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
        self._samples: list[Sample] = []
        self._since: list[float] = []

    def __len__(self) -> int:
        return len(self._samples)

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

    def add(self, sample: Sample, now: float) -> None:
        """Let a sample wait."""
        self._samples.append(sample)
        self._since.append(now)

    def due_in(self, now: float) -> float | None:
        """Return the seconds until a batch is due, 0 if one is; None if nothing waits."""
        if not self._samples:
            return None
        if len(self) >= self._size:
            return 0.0
        return max(self._since[0] + self._wait_s - now, 0.0)

    def take(self, now: float) -> tuple[list[Sample], NDArray[np.float64]]:
        """Return the next batch, and (n,) seconds that its samples have waited."""
        batch = self._samples[: self._size]
        waited = now - np.array(self._since[: self._size])
        del self._samples[: self._size], self._since[: self._size]
        return batch, waited

    def shed(self) -> list[Sample]:
        """Take out what is more than `shed_at`, chosen by the policy."""
        if self._overload is None or len(self) <= self._overload.shed_at:
            return []
        chosen = set(_CHOOSE[self._overload.policy](self._samples)[self._overload.shed_at :])
        gone = [self._samples[at] for at in sorted(chosen)]
        kept = [at for at in range(len(self)) if at not in chosen]
        self._samples = [self._samples[at] for at in kept]
        self._since = [self._since[at] for at in kept]
        return gone


def _early_first(samples: Sequence[Sample]) -> list[int]:
    """Put early records before all others: with them a connection is judged while it lasts."""
    return sorted(range(len(samples)), key=lambda at: (samples[at].kind != Kind.EARLY, -at))


_CHOOSE: dict[str, Callable[[Sequence[Sample]], list[int]]] = {
    "newest": lambda samples: list(range(len(samples))),
    "oldest": lambda samples: list(range(len(samples)))[::-1],
    "early-first": _early_first,
}
"""Positions in the order in which samples are kept: the rest is shed."""
