"""What replays through Zeek amounted to: counts of the sensor, and those of Zeek itself."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mtc_sensor import streams
from mtc_sensor.outputs.notice import SUPPRESS_FOR_S, NoticeSuppressor
from mtc_sensor.replay import Talkers
from mtc_sensor.summary import KINDS, Summary, Totals
from mtc_sensor.verdict import Verdicts
from mtc_sensor.wire.assemble import without_heads
from mtc_sensor.wire.records import Records


class ZeekSummary(Summary):
    """Counts over all captures; what a replay without Zeek counts, and what became of samples.

    Parameters
    ----------
    suppress_for_s
        How long Zeek suppresses repeats of a notice, seconds: tells which notices to show.
    """

    def __init__(self, suppress_for_s: float = SUPPRESS_FOR_S) -> None:
        super().__init__()
        self._suppressor = NoticeSuppressor(suppress_for_s)
        self._samples = Counter(exported=0, judged=0, shed=0, lost=0)
        self._dropped: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        """What Zeek has counted: the fields of ``MTC::Summary``, see summary.zeek."""

    def add_records(self, parts: Sequence[Records]) -> None:
        """Count whose samples these are."""
        for records in parts:
            self._add_talkers(Talkers.of(without_heads(records)))

    def add_verdicts(self, verdicts: Verdicts) -> None:
        """Count verdicts by model and label."""
        self._add_verdicts(verdicts, self._suppressor.due(verdicts))

    def add_file(self, totals: streams.Totals, dropped: dict[str, int], zeek: Path) -> int:
        """Count what became of one file's samples; return how many were not judged.

        `zeek` is what summary.zeek has written, unless Zeek failed: samples that it made and could
        not export are in no one else's account.
        """
        seen: Counter[str] = Counter(json.loads(zeek.read_text()) if zeek.is_file() else {})
        lost = totals.lost + totals.in_flight
        self.files += 1
        self._samples.update(
            exported=totals.judged + lost, judged=totals.judged, shed=totals.shed, lost=lost
        )
        self._dropped.update(dropped)
        self._seen.update(seen)
        self._suppressor = NoticeSuppressor(self._suppressor.suppress_for_s)  # as the next Zeek
        return max(lost, sum(seen[kind] for kind in KINDS) - totals.judged - totals.shed)

    @property
    def totals(self) -> Totals:
        """What all files together held, so far."""
        return Totals(
            packets=self._seen["packets"],
            bytes=self._seen["bytes"],
            flows=self._seen["flows"],
            records={kind: self._seen[kind] for kind in KINDS},
            notices=self._seen["notices"],
            suppressed=self._seen["suppressed"],
            dropped=dict(self._dropped),
            samples=dict(self._samples),
        )
