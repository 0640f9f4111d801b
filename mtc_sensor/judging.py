"""Samples off the bus through the models, and what these say as events for Zeek."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.evidence import MOST_LIVE, untold
from mtc_sensor.flow import FlowBatch, Kind, pack_samples
from mtc_sensor.inference import Model, settings_for
from mtc_sensor.measures import Measures
from mtc_sensor.verdict import Verdicts
from mtc_sensor.wire import binary_events, events
from mtc_sensor.wire.answers import Answers
from mtc_sensor.wire.assemble import to_flow_batch
from mtc_sensor.wire.events import Verdict
from mtc_sensor.wire.records import Records
from mtc_sensor.wire.sample import Sample, batch_of
from mtc_sensor.wire.values import Port, Proto

Answer: TypeAlias = tuple[NDArray[np.int64], Verdicts]
"""(m,) rows of a batch, and a verdict on each."""
_LATELY = 0.1
"""What the last batch counts for in a model's cost."""

logger = logging.getLogger(__name__)


def wall_clock_us() -> int:
    """Return microseconds since the epoch."""
    return time.time_ns() // 1000


class SampleJudge:
    """Asks the models about samples.

    A model that raises says nothing of that batch: its samples are counted as ``failed:<model>``,
    and what the other models say goes out.

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
    measures
        What counts.
    """

    def __init__(
        self,
        sensor: str,
        models: Sequence[Model],
        also: Callable[[Verdicts], object] | None = None,
        clock_us: Callable[[], int] | None = wall_clock_us,
        measures: Measures | None = None,
    ) -> None:
        self._sensor = sensor
        self._measures = measures or Measures()
        self._models = [_Guarded(model, self._measures) for model in models]
        self._head_bytes = settings_for(models).head_bytes
        self._also = also
        self._clock_us = clock_us

    def __call__(
        self, parts: Sequence[Records], strain: float = 0.0
    ) -> Iterator[list[Sequence[Verdict]]]:
        """Yield each model's verdicts on the samples that it judges, for each of `parts`.

        With `strain` in (0, 1] the costliest models are left out, with 1 all but the cheapest;
        verdicts say then which ran, and malicious ones not what decided them.
        """
        begin = time.perf_counter()
        batch = to_flow_batch(parts, self._head_bytes)
        self._measures.stage("batch", time.perf_counter() - begin)
        ends = np.cumsum([0] + [len(part) for part in parts])
        for rows, verdicts in self._ask(batch, strain):
            if self._also is not None:
                self._also(verdicts)
            yield self._told(parts, ends, rows, verdicts)

    def warm_up(self) -> None:
        """Let everything that is loaded or compiled at its first use be used."""
        message = binary_events.encode(batch_of([_made_up()]))
        records = binary_events.decode(message)
        assert isinstance(records, Records)
        batch = to_flow_batch([records], self._head_bytes)
        for model in self._models:
            model.warm_up(batch)

    def _ask(self, batch: FlowBatch, strain: float) -> Iterator[Answer]:
        count = math.ceil(strain * (len(self._models) - 1))
        skipped = sorted(self._models, key=lambda model: -model.cost_s)[:count]
        for model in skipped:
            model.skip(batch)
        asked = [model for model in self._models if model not in skipped]
        ran = f" ran={','.join(model.name for model in asked)}" if skipped else ""
        now_us = None if self._clock_us is None else self._clock_us()
        most = None if now_us is None else 0 if strain else MOST_LIVE
        for model in asked:
            begin = time.perf_counter()
            answer = model.ask(batch, now_us, most)
            self._measures.stage("infer", time.perf_counter() - begin)
            if answer is not None:
                rows, verdicts = answer
                if ran:
                    verdicts = replace(verdicts, detail=np.char.add(verdicts.detail, ran))
                yield rows, verdicts

    def _told(
        self,
        parts: Sequence[Records],
        ends: NDArray[np.int64],
        rows: NDArray[np.int64],
        verdicts: Verdicts,
    ) -> list[Sequence[Verdict]]:
        flags = verdicts.malicious * events.MALICIOUS + verdicts.unknown * events.UNKNOWN
        said = (verdicts.model, verdicts.label, verdicts.score, flags, verdicts.detail)
        columns = [column.tolist() for column in said]
        cuts = np.searchsorted(rows, ends).tolist()
        found: list[Sequence[Verdict]] = []
        for part, begin, (first, last) in zip(parts, ends, pairwise(cuts), strict=False):
            within = (rows[first:last] - begin).tolist()
            of_part = (column[first:last] for column in columns)
            found.append(Answers(self._sensor, part, within, *of_part))
        return found


class _Guarded:
    """A model, what it costs, and what is counted of it."""

    def __init__(self, model: Model, measures: Measures) -> None:
        self.name = model.name
        self.cost_s = 0.0
        """Seconds per sample of a batch, whether it judged them or not, as it was lately."""
        self._model = model
        self._measures = measures
        self._failing = False

    def ask(self, batch: FlowBatch, now_us: int | None, most: int | None) -> Answer | None:
        """Return rows and verdicts, if there are any."""
        begin = time.perf_counter()
        rows = np.arange(len(batch))
        try:
            rows = self._model.rows(batch)
            verdicts = self._model.judge(batch.take(rows), now_us, most) if len(rows) else None
        except Exception:
            self._fail(len(rows))
            return None
        self._failing = False
        if verdicts is None:
            return None
        self.cost_s += _LATELY * ((time.perf_counter() - begin) / len(batch) - self.cost_s)
        self._measures.batch(self.name, len(rows))
        if silent := untold(self._model, verdicts, most):
            self._measures.shed(f"unexplained:{self.name}", silent)
        for label, count in Counter(verdicts.label.tolist()).items():
            self._measures.verdict(self.name, label, count)
        return rows, verdicts

    def warm_up(self, batch: FlowBatch) -> None:
        """Judge a batch of which nobody hears."""
        self._model.judge(batch)

    def skip(self, batch: FlowBatch) -> None:
        """Count what is not judged because there is too much to do."""
        self._measures.shed(f"skipped:{self.name}", len(self._model.rows(batch)))

    def _fail(self, count: int) -> None:
        self._measures.shed(f"failed:{self.name}", count)
        if not self._failing:  # the next may be as bad, and come in thousands
            logger.exception("model %s failed; counted from now on, until it works", self.name)
        self._failing = True


def _made_up() -> Sample:
    """Return a connection that has what any model looks at."""
    head = bytes.fromhex("4500002800000000 40060000 c0000201 c0000202")
    head += bytes.fromhex("04000050 00000000 00000000 50000000 00000000")
    return Sample(
        run="-",
        node="-",
        shard=0,
        seq=1,
        kind=int(Kind.FINAL),
        uid="C1",
        orig_h=IPv4Address("192.0.2.1"),
        orig_p=Port(1024, Proto.TCP),
        resp_h=IPv4Address("192.0.2.2"),
        resp_p=Port(80, Proto.TCP),
        start_us=0,
        samples=pack_samples(np.arange(20), np.arange(20) % 2 == 1, np.full(20, 40), np.ones(20)),
        link=101,
        head=(head,),
        tokens="TLSv12",
    )
