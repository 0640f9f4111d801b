"""Packets of an interface through the models, as they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from mtc_sensor.capture.decode import Decoder
from mtc_sensor.capture.flows import FlowSettings, FlowTable
from mtc_sensor.capture.packets import PacketBatch
from mtc_sensor.capture.records import CaptureCounts
from mtc_sensor.evidence import MOST_LIVE
from mtc_sensor.flow import FlowBatch
from mtc_sensor.inference import Model, judge_records, settings_for
from mtc_sensor.verdict import Verdicts

IDLE_S = 5.0
"""A connection that is silent this long before its 8th packet is judged by what it has."""


def _wall_clock_us() -> int:
    return time.time_ns() // 1000


def watch(
    packets: Iterable[PacketBatch],
    models: Sequence[Model],
    stop: Callable[[], bool],
    counts: CaptureCounts,
    clock_us: Callable[[], int] = _wall_clock_us,
) -> Iterator[Verdicts]:
    """Yield verdicts on live traffic until `stop` says so, then on what is still open.

    `packets` gives a batch, maybe an empty one, several times a second; the clock has to be the one
    that their times come from. `counts` is kept up to date.
    """
    settings = settings_for(models, FlowSettings(early_idle_s=IDLE_S))

    def judged(records: FlowBatch) -> Verdicts:
        return judge_records(models, records, clock_us(), MOST_LIVE)

    decoder, table = Decoder(), FlowTable(settings)
    for batch in packets:
        if len(batch):
            counts.add(batch)
            yield judged(table.add(batch, decoder.decode(batch)))
        yield judged(table.advance(clock_us()))
        counts.update(decoder.counts, table.counts)
        if stop():
            break
    yield judged(table.finish())
    counts.update(decoder.counts, table.counts)
