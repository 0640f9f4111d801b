"""The sensor beside Zeek: samples in, verdicts out, in one loop over one inbox.

Only the transport's thread touches the network. This loop decides: it hands samples to `Streams`,
judges them in batches (by size, or when the oldest has waited long enough), publishes the verdicts
and then the acks, so that an acked sample has been judged and its verdicts are on their way.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import TypeAlias

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
from mtc_sensor.wire.events import ExporterDrained, ExporterStatus, MtcEvent, Sample, Verdict

Judge: TypeAlias = Callable[[Sequence[Sample]], Sequence[Iterable[Verdict]]]
"""Gives the verdict events of each sample, in the order of the samples."""

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
    batch_size
        Samples that are judged together, at most.
    wait_s
        How long a sample waits for others, at most.
    """

    def __init__(
        self,
        streams: Streams,
        transport: Transport,
        inbox: Inbox,
        judge: Judge,
        batch_size: int = 256,
        wait_s: float = 0.05,
    ) -> None:
        self._streams = streams
        self._transport = transport
        self._inbox = inbox
        self._judge = judge
        self._batch_size = batch_size
        self._wait_s = wait_s
        self._pending: list[Sample] = []
        self._oldest = 0.0
        self._heard = 0.0
        self._generation = 0
        self._reported = time.monotonic()
        self._next_judge: Callable[[], Judge] | None = None

    @property
    def totals(self) -> Totals:
        """What became of all samples so far."""
        return self._streams.totals

    @property
    def dropped(self) -> dict[str, int]:
        """What was not taken, by the reason's name."""
        return dict(self._streams.counts + Counter(self._transport.counts))

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
        for item in self._inbox.get(self._timeout()):
            self._take(item)
        while len(self._pending) >= self._batch_size or (self._pending and not self._timeout()):
            self._judge_batch()
        self._talk()
        if time.monotonic() - self._reported >= _REPORT_EVERY_S:
            self._report("running")

    def _timeout(self) -> float:
        """Return how long to wait for more."""
        if not self._pending:
            return _TICK_S
        return min(max(self._oldest + self._wait_s - time.monotonic(), 0.0), _TICK_S)

    def _take(self, item: Incoming) -> None:
        now = time.monotonic()
        if isinstance(item, Sample):
            self._heard = now
            if self._streams.sample(item, now):
                self._oldest = self._oldest if self._pending else now
                self._pending.append(item)
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
        batch = self._pending[: self._batch_size]
        del self._pending[: self._batch_size]
        self._oldest = time.monotonic()
        for sample, verdicts in zip(batch, self._judge(batch), strict=True):
            topic = topics.verdicts_for(sample.node)
            sent = all(self._publish(topic, verdict) for verdict in verdicts)
            self._streams.judged(sample, sent)

    def _talk(self) -> None:
        for topic, event in self._streams.poll(time.monotonic()):
            self._publish(topic, event)

    def _publish(self, topic: str, event: MtcEvent) -> bool:
        return self._transport.publish([(topic, event)], self._generation)[0]

    def _drain(self) -> None:
        """Grant no more and judge what has been published, as long as there is some."""
        self._streams.drain()
        self._talk()
        self._heard = now = time.monotonic()
        end = now + _DRAIN_S
        while now < end and (self._pending or now < self._heard + _QUIET_S):
            self._step()
            now = time.monotonic()

    def _report(self, state: str) -> None:
        self._reported = time.monotonic()
        logger.info(state, extra={"fields": {**asdict(self.totals), "dropped": self.dropped}})
