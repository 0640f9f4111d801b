"""What a replay amounted to: counted step by step, printed as a table or as JSON."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import numpy as np

from mtc_sensor.capture.records import CaptureCounts
from mtc_sensor.flow import Kind, address_text
from mtc_sensor.outputs.notice import messages
from mtc_sensor.replay import Step, Talkers
from mtc_sensor.verdict import Verdicts

_MAX_HOSTS = 1 << 16
_SHOWN_NOTICES = 10


class Summary:
    """Counts over all files of a replay, in bounded memory."""

    def __init__(self) -> None:
        self.files = 0
        self.errors: list[str] = []
        self.notices = 0
        self.first_notices: list[str] = []
        """What the first ten say."""
        self.verdicts: Counter[tuple[str, str]] = Counter()
        """By model and label."""
        self.talkers: dict[bytes, tuple[int, int]] = {}
        """Originator -> flows and IP bytes; of many hosts, those with the most bytes."""
        self._kinds = np.zeros(len(Kind), np.int64)
        self._done = CaptureCounts()
        self._current = CaptureCounts()
        self._started = time.monotonic()

    def add(self, step: Step, due: Verdicts) -> None:
        """Count one step and the notices that came of it."""
        self._kinds += step.kinds
        self._current = step.counts
        pairs = zip(step.verdicts.model.tolist(), step.verdicts.label.tolist(), strict=True)
        self.verdicts.update(pairs)
        self._add_talkers(step.talkers)
        room = _SHOWN_NOTICES - len(self.first_notices)
        self.first_notices += messages(due.take(np.arange(min(room, len(due)))))
        self.notices += len(due)
        if step.last:
            self.files += 1
            self._done, self._current = self.total, CaptureCounts()
            self.errors += [] if step.error is None else [str(step.error)]

    @property
    def total(self) -> CaptureCounts:
        """What all files together held, so far."""
        return self._done + self._current

    @property
    def seconds(self) -> float:
        """Wall time since the replay began."""
        return time.monotonic() - self._started

    def as_json(self) -> dict[str, Any]:
        """Return the object that `--json` prints."""
        total = self.total
        labels: Counter[str] = Counter()
        models: dict[str, dict[str, int]] = {}
        for (model, label), count in sorted(self.verdicts.items()):
            labels[label] += count
            models.setdefault(model, {})[label] = count
        return {
            "files": self.files,
            "errors": self.errors,
            "packets": total.packets,
            "bytes": total.bytes,
            "flows": total.flows,
            "records": self.records,
            "verdicts": dict(labels),
            "models": models,
            "notices": self.notices,
            "dropped": {name: count for name, count in total.dropped.items() if count},
            "top_talkers": [
                {"host": host, "flows": flows, "bytes": size}
                for host, flows, size in self.top_talkers(10)
            ],
            "seconds": round(self.seconds, 3),
        }

    @property
    def records(self) -> dict[str, int]:
        """Records by kind."""
        return {kind.name.lower(): int(self._kinds[kind]) for kind in Kind}

    def top_talkers(self, number: int) -> list[tuple[str, int, int]]:
        """Return the originators with the most bytes: address, flows, IP bytes."""
        ranked = sorted(self.talkers.items(), key=lambda item: (-item[1][1], item[0]))[:number]
        return [
            (address_text(np.frombuffer(host, np.uint8)), flows, size)
            for host, (flows, size) in ranked
        ]

    def _add_talkers(self, talkers: Talkers) -> None:
        rows = zip(talkers.host, talkers.flows.tolist(), talkers.bytes.tolist(), strict=True)
        for host, flows, size in rows:
            before = self.talkers.get(key := host.tobytes(), (0, 0))
            self.talkers[key] = (before[0] + flows, before[1] + size)
        if len(self.talkers) > _MAX_HOSTS:
            ranked = sorted(self.talkers.items(), key=lambda item: -item[1][1])
            self.talkers = dict(ranked[: _MAX_HOSTS // 2])
