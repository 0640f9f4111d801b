"""Samples off the bus through the models, and what these say as events for Zeek."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from mtc_sensor.inference import Model, judge_rows, settings_for
from mtc_sensor.verdict import Verdicts
from mtc_sensor.wire import events
from mtc_sensor.wire.assemble import to_flow_batch
from mtc_sensor.wire.events import Sample, Verdict


def wall_clock_us() -> int:
    """Return microseconds since the epoch."""
    return time.time_ns() // 1000


class SampleJudge:
    """Asks the models about samples.

    Parameters
    ----------
    sensor
        The sensor's name, for the events.
    models
        Which to ask.
    also
        Where verdicts go besides.
    clock_us
        The wall clock, for latencies; None in a replay, where they have no meaning.
    """

    def __init__(
        self,
        sensor: str,
        models: Sequence[Model],
        also: Callable[[Verdicts], object] | None = None,
        clock_us: Callable[[], int] | None = wall_clock_us,
    ) -> None:
        self._sensor = sensor
        self._models = models
        self._head_bytes = settings_for(models).head_bytes
        self._also = also
        self._clock_us = clock_us

    def __call__(self, samples: Sequence[Sample]) -> list[list[Verdict]]:
        """Return the verdicts of every model that judges it, for each sample, in order."""
        found: list[list[Verdict]] = [[] for _ in samples]
        now_us = None if self._clock_us is None else self._clock_us()
        for rows, verdicts in judge_rows(
            self._models, to_flow_batch(samples, self._head_bytes), now_us
        ):
            flags = verdicts.malicious * events.MALICIOUS + verdicts.unknown * events.UNKNOWN
            columns = (rows, verdicts.model, verdicts.label, verdicts.score, flags, verdicts.detail)
            for row, *said in zip(*(column.tolist() for column in columns), strict=True):
                found[row].append(_event(self._sensor, samples[row], *said))
            if self._also is not None:
                self._also(verdicts)
        return found


def _event(
    sensor: str, sample: Sample, model: str, label: str, score: float, flags: int, detail: str
) -> Verdict:
    return Verdict(
        sensor=sensor,
        run=sample.run,
        node=sample.node,
        shard=sample.shard,
        seq=sample.seq,
        uid=sample.uid,
        orig_h=sample.orig_h,
        orig_p=sample.orig_p,
        resp_h=sample.resp_h,
        resp_p=sample.resp_p,
        start_us=sample.start_us,
        kind=sample.kind,
        model=model,
        label=label,
        score=score,
        flags=flags,
        detail=detail,
    )
