"""What replays through Zeek amounted to: counts of the sensor, and those of Zeek itself."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from mtc_sensor.flow import Kind
from mtc_sensor.streams import Totals
from mtc_sensor.verdict import Verdicts

_KINDS = tuple(kind.name.lower() for kind in Kind)


@dataclass
class ZeekSummary:
    """Counts over all captures; `as_json` has the keys of a replay without Zeek, and more."""

    files: int = 0
    errors: list[str] = field(default_factory=list)
    judged: int = 0
    shed: int = 0
    lost: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By model and label."""
    seen: Counter[str] = field(default_factory=Counter)
    """What Zeek has counted: the fields of ``MTC::Summary``, see summary.zeek."""
    started: float = field(default_factory=time.monotonic)

    @property
    def exported(self) -> int:
        """Samples that Zeek published."""
        return self.judged + self.lost

    def count(self, verdicts: Verdicts) -> None:
        """Count verdicts by model and label."""
        self.verdicts.update(zip(verdicts.model.tolist(), verdicts.label.tolist(), strict=True))

    def add(self, totals: Totals, dropped: dict[str, int], zeek: Path) -> None:
        """Count what became of one file's samples; `zeek` is what summary.zeek has written, if."""
        self.files += 1
        self.judged += totals.judged
        self.shed += totals.shed
        self.lost += totals.lost + totals.in_flight
        self.dropped.update(dropped)
        if zeek.is_file():
            self.seen.update(json.loads(zeek.read_text()))

    def as_json(self) -> dict[str, object]:
        """Return the object that `--json` prints."""
        labels: Counter[str] = Counter()
        models: dict[str, dict[str, int]] = {}
        for (model, label), count in sorted(self.verdicts.items()):
            labels[label] += count
            models.setdefault(model, {})[label] = count
        return {
            "files": self.files,
            "errors": self.errors,
            "packets": self.seen["packets"],
            "bytes": self.seen["bytes"],
            "flows": self.seen["flows"],
            "records": {kind: self.seen[kind] for kind in _KINDS},
            "exported": self.exported,
            "judged": self.judged,
            "shed": self.shed,
            "lost": self.lost,
            "verdicts": dict(labels),
            "models": models,
            "notices": self.seen["notices"],
            "suppressed": self.seen["suppressed"],
            "dropped": dict(self.dropped),
            "seconds": round(time.monotonic() - self.started, 3),
        }
