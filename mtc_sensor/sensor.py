"""The sensor beside Zeek: samples in, verdicts out, in one loop over one inbox.

Only the transport's thread touches the network. This loop decides: it hands samples to `Streams`
and then to a `Batcher`, judges what that says is due, publishes the verdicts and then the acks, so
that an acked sample has been judged and its verdicts are on their way, or was shed and counted.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from itertools import chain, islice
from operator import and_
from typing import TypeAlias

import numpy as np

from mtc_sensor.batching import Batcher
from mtc_sensor.measures import Measures
from mtc_sensor.outputs.zeek_event import verdict_events
from mtc_sensor.streams import Streams, Totals
from mtc_sensor.transports.base import (
    Connected,
    Failed,
    Inbox,
    Incoming,
    Subscribed,
    Transport,
    Unsubscribed,
)
from mtc_sensor.wire import topics
from mtc_sensor.wire.events import ExporterDrained, ExporterStatus, Verdict
from mtc_sensor.wire.records import Records

Judge: TypeAlias = Callable[[Sequence[Records], float], Iterable[Sequence[Sequence[Verdict]]]]
"""Gives, model after model, the verdicts on the samples of each stream.

The number is how hard pressed the sensor is, see `Batcher.strain`.
"""

_TICK_S = 0.1
_REPORT_EVERY_S = 60.0
_DRAIN_S = 5.0
_QUIET_S = 0.5
"""Without a sample for so long, none is on the way any more."""

logger = logging.getLogger(__name__)


class Sensor:
    """Judges what exporters send until it is told to stop.

    Parameters
    ----------
    streams
        The conversation with the exporters.
    transport
        The way to them; its inbox is `inbox`.
    inbox
        What the transport receives.
    judge
        Asks the models.
    batcher
        Where samples wait.
    measures
        What counts.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        streams: Streams,
        transport: Transport,
        inbox: Inbox,
        judge: Judge,
        batcher: Batcher | None = None,
        measures: Measures | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._streams = streams
        self._transport = transport
        self._inbox = inbox
        self._judge = judge
        self._batcher = Batcher() if batcher is None else batcher  # an empty one is false
        self._measures = transport.measures = measures or Measures()
        self._clock = clock
        self.counts: Counter[str] = Counter()
        """What else was dropped, by the reason's name."""
        self._heard = 0.0
        self._generation = 0
        self._reported = clock()
        self._next_judge: Callable[[], Judge] | None = None

    @property
    def totals(self) -> Totals:
        """What became of all samples so far."""
        return self._streams.totals

    @property
    def dropped(self) -> dict[str, int]:
        """What was not taken, by the reason's name."""
        return dict(self._streams.counts + Counter(self._transport.counts) + self.counts)

    def reload(self, make: Callable[[], Judge]) -> None:
        """Replace the models with what `make` returns, between two batches; any thread may ask."""
        self._next_judge = make

    def run(self, stop: Callable[[], bool]) -> None:
        """Receive and judge until `stop` says so, then judge what is still on the way.

        Raises what ended the transport's thread, if anything did.
        """
        self._transport.start()
        try:
            while not stop():
                self._step()
            self._drain()
        finally:
            self._transport.close()
            self._report("stopped")

    def _step(self) -> None:
        if self._next_judge is not None:
            make, self._next_judge = self._next_judge, None
            self._judge = make()
        items = self._inbox.get(self._timeout())
        begin = self._clock()
        for item in items:
            self._take(item)
        self._shed()
        self._measures.stage("receive", self._clock() - begin)
        if self._batcher.due_in(self._clock()) == 0:
            self._judge_batch()
        self._talk()
        self._note()

    def _timeout(self) -> float:
        """Return how long to wait for more."""
        due = self._batcher.due_in(self._clock())
        return _TICK_S if due is None else min(due, _TICK_S)

    def _shed(self) -> None:
        for records in self._batcher.shed():
            self._streams.shed(records)
            self._measures.shed(self._batcher.policy, len(records))

    def _note(self) -> None:
        """Say where the loop stands."""
        self._measures.queue("inbox", len(self._inbox))
        self._measures.queue("batcher", len(self._batcher))
        self._measures.state(self._streams.by_node, self.dropped, self._transport.connected)
        if self._clock() - self._reported >= _REPORT_EVERY_S:
            self._report("running")

    def _take(self, item: Incoming) -> None:
        now = self._clock()
        if isinstance(item, Records):
            self._heard = now
            records = self._streams.received(item, now)
            if records is not None:
                self._batcher.add(records, now)
        elif isinstance(item, ExporterStatus):
            self._streams.status(item, now)
        elif isinstance(item, ExporterDrained):
            self._streams.drained(item, now)
        else:
            self._take_notice(item, now)

    def _take_notice(self, item: Incoming, now: float) -> None:
        if isinstance(item, Failed):
            raise item.fault
        if isinstance(item, Connected):
            self._streams.connected(now)
        elif isinstance(item, Subscribed | Unsubscribed):
            node = topics.exporter_of(item.topic)
            if node is not None:
                self._streams.moved(node, here=isinstance(item, Subscribed))
        else:
            self._streams.counts["not_for_sensors"] += 1
            return
        self._generation = item.generation

    def _judge_batch(self) -> None:
        strain, begin = self._batcher.strain, self._clock()
        batch, waited = self._batcher.take(begin)
        sent = [True] * len(batch)
        for said in self._judge(batch, strain):  # none waits for a slower model's
            sent = [*map(and_, sent, self._publish(said))]
        for records, its in zip(batch, sent, strict=True):
            self._streams.judged(records, its)
        self._measures.judged(waited, np.full(len(waited), self._clock() - begin))

    def _publish(self, said: Sequence[Sequence[Verdict]]) -> list[bool]:
        """Publish the verdicts on the samples of each stream; return whether all were sent."""
        begin = self._clock()
        messages = [verdict_events(verdicts) for verdicts in said]
        sent = iter(self._transport.publish([*chain(*messages)], self._generation))
        found = [all(list(islice(sent, len(its)))) for its in messages]
        self._measures.stage("publish", self._clock() - begin)
        return found

    def _talk(self) -> None:
        said = self._streams.poll(self._clock())
        if said:
            self._transport.publish(said, self._generation)

    def _drain(self) -> None:
        """Grant no more and judge what has been published, as long as there is some."""
        self._streams.drain()
        self._talk()
        self._heard = now = self._clock()
        end = now + _DRAIN_S
        while now < end and (len(self._batcher) or now < self._heard + _QUIET_S):
            self._step()
            now = self._clock()

    def _report(self, state: str) -> None:
        self._reported = self._clock()
        reasons = self._measures.read().shed
        fields = {**asdict(self.totals), "dropped": self.dropped, "reasons": reasons}
        logger.info(state, extra={"fields": fields})
