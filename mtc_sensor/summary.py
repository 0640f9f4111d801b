"""What a replay amounted to: counted step by step, printed as a table or as JSON."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mtc_sensor.capture.records import CaptureCounts
from mtc_sensor.flow import Kind, address_text
from mtc_sensor.outputs.notice import NoticeSuppressor, messages
from mtc_sensor.replay import Step, Talkers
from mtc_sensor.verdict import Verdicts

KINDS = tuple(kind.name.lower() for kind in Kind)
_MAX_HOSTS = 1 << 16
_SHOWN_NOTICES = 10


@dataclass(frozen=True)
class Totals:
    """What was in the captures, and what came of it."""

    packets: int
    bytes: int
    flows: int
    records: Mapping[str, int]
    """By kind."""
    notices: int
    suppressed: int
    """Notices that were repeats."""
    dropped: Mapping[str, int]
    """By the reason's name; those that occurred."""
    samples: Mapping[str, int] = field(default_factory=dict)
    """What became of the samples that a Zeek exported."""


class Summary(ABC):
    """Counts over all files of a replay, in bounded memory."""

    def __init__(self) -> None:
        self.files = 0
        self.errors: list[str] = []
        self.first_notices: list[str] = []
        """What the first ten say."""
        self.verdicts: Counter[tuple[str, str]] = Counter()
        """By model and label."""
        self.talkers: dict[bytes, tuple[int, int]] = {}
        """Originator -> flows and IP bytes; of many hosts, those with the most bytes."""
        self._started = time.monotonic()

    @property
    @abstractmethod
    def totals(self) -> Totals:
        """What all files together held, so far."""

    @property
    def seconds(self) -> float:
        """Wall time since the replay began."""
        return time.monotonic() - self._started

    def as_json(self) -> dict[str, Any]:
        """Return the object that `--json` prints."""
        totals = self.totals
        labels: Counter[str] = Counter()
        models: dict[str, dict[str, int]] = {}
        for (model, label), count in sorted(self.verdicts.items()):
            labels[label] += count
            models.setdefault(model, {})[label] = count
        return {
            "files": self.files,
            "errors": self.errors,
            "packets": totals.packets,
            "bytes": totals.bytes,
            "flows": totals.flows,
            "records": dict(totals.records),
            **totals.samples,
            "verdicts": dict(labels),
            "models": models,
            "notices": totals.notices,
            "suppressed": totals.suppressed,
            "dropped": dict(totals.dropped),
            "top_talkers": [
                {"host": host, "flows": flows, "bytes": size}
                for host, flows, size in self.top_talkers(10)
            ],
            "seconds": round(self.seconds, 3),
        }

    def top_talkers(self, number: int) -> list[tuple[str, int, int]]:
        """Return the originators with the most bytes: address, flows, IP bytes."""
        ranked = sorted(self.talkers.items(), key=lambda item: (-item[1][1], item[0]))[:number]
        return [
            (address_text(np.frombuffer(host, np.uint8)), flows, size)
            for host, (flows, size) in ranked
        ]

    def _add_verdicts(self, verdicts: Verdicts, due: Verdicts) -> None:
        """Count verdicts; `due` are those of which a notice is raised."""
        self.verdicts.update(zip(verdicts.model.tolist(), verdicts.label.tolist(), strict=True))
        room = _SHOWN_NOTICES - len(self.first_notices)
        self.first_notices += messages(due.take(np.arange(min(room, len(due)))))

    def _add_talkers(self, talkers: Talkers) -> None:
        rows = zip(talkers.host, talkers.flows.tolist(), talkers.bytes.tolist(), strict=True)
        for host, flows, size in rows:
            before = self.talkers.get(key := host.tobytes(), (0, 0))
            self.talkers[key] = (before[0] + flows, before[1] + size)
        if len(self.talkers) > _MAX_HOSTS:
            ranked = sorted(self.talkers.items(), key=lambda item: -item[1][1])
            self.talkers = dict(ranked[: _MAX_HOSTS // 2])


class CaptureSummary(Summary):
    """Of a replay without Zeek, whose notices `suppressor` lets pass."""

    def __init__(self, suppressor: NoticeSuppressor) -> None:
        super().__init__()
        self._suppressor = suppressor
        self._notices = 0
        self._kinds = np.zeros(len(Kind), np.int64)
        self._done = CaptureCounts()
        self._current = CaptureCounts()

    def add(self, step: Step, due: Verdicts) -> None:
        """Count one step and the notices that came of it."""
        self._kinds += step.kinds
        self._current = step.counts
        self._add_verdicts(step.verdicts, due)
        self._add_talkers(step.talkers)
        self._notices += len(due)
        if step.last:
            self.files += 1
            self._done, self._current = self._done + self._current, CaptureCounts()
            self.errors += [] if step.error is None else [str(step.error)]

    @property
    def totals(self) -> Totals:
        """What all files together held, so far."""
        counts = self._done + self._current
        return Totals(
            packets=counts.packets,
            bytes=counts.bytes,
            flows=counts.flows,
            records=dict(zip(KINDS, self._kinds.tolist(), strict=True)),
            notices=self._notices,
            suppressed=self._suppressor.suppressed,
            dropped={name: count for name, count in counts.dropped.items() if count},
        )
