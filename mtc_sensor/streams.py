"""The sensor's side of the conversation with all exporters: windows, acks, resends.

Pure: events go in with the time, `poll` says what is to be published. At all times, per stream and
in `totals`, ``sampled = judged + shed + lost + in flight``.

The windows of all exporters together never exceed `BUDGET`: Zeek's ZeroMQ proxy holds 1000
messages for a sensor that has stopped reading, and beyond that the whole bus waits. libzmq reports
only every 500th message as read, so the proxy can think it holds 499 more than it does. A window
that was granted can have been used before a smaller one arrives, so it counts longer, see `Peer`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from mtc_sensor.peer import HELLO_EVERY_S, Peer
from mtc_sensor.stream import Stream
from mtc_sensor.wire import topics
from mtc_sensor.wire.events import (
    ExporterDrained,
    ExporterStatus,
    Grant,
    MtcEvent,
    Resend,
    SensorHello,
)
from mtc_sensor.wire.records import Records, StreamId

BUDGET = 400
"""Samples that exporters may have on the way to one sensor, all together."""
MAX_STREAMS = 100
"""Exporters at a time; the one that has been silent longest makes room."""
MAX_NODES, OTHER = 100, "other"
"""Nodes are told apart until there have been so many; the rest goes by this name."""
GRANT_EVERY_S = 1.0
"""Grants are repeated: one may be lost, and they show that the sensor lives."""
SILENT_S = 300.0
"""An exporter that says nothing for so long has gone."""


@dataclass(frozen=True)
class Totals:
    """What became of all samples; `sampled` is the sum of the other four."""

    judged: int = 0
    shed: int = 0
    lost: int = 0
    in_flight: int = 0

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            self.judged + other.judged,
            self.shed + other.shed,
            self.lost + other.lost,
            self.in_flight + other.in_flight,
        )

    @property
    def sampled(self) -> int:
        """Samples that exporters have made, as far as they said."""
        return self.judged + self.shed + self.lost + self.in_flight


class Streams:
    """Every stream that this sensor has heard of.

    Parameters
    ----------
    sensor
        The sensor's name.
    shards
        Which shards it judges; what it hears of others is passed over.
    """

    def __init__(self, sensor: str, shards: Iterable[int]) -> None:
        self.sensor = sensor
        self.shards = tuple(shards)
        self.counts: Counter[str] = Counter()
        """Events that were not taken, by the reason's name."""
        self._peers: dict[StreamId, Peer] = {}
        self._gone: dict[str, Totals] = {}
        """What became of the samples of streams that are not followed any more, by node."""
        self._budget = BUDGET
        self._unanswered: dict[str, float] = {}
        """Exporters that were seen and have not answered: when to say hello (again)."""
        self._hello_at: float | None = None

    @property
    def totals(self) -> Totals:
        """What became of all samples since the start."""
        return sum(self.by_node.values(), Totals())

    @property
    def by_node(self) -> dict[str, Totals]:
        """What became of the samples of each node; they sum to `totals`."""
        found = dict(self._gone)
        for stream_id, peer in self._peers.items():
            found[self._known_as(stream_id.node)] += _account(peer.stream)
        return found

    @property
    def open(self) -> int:
        """Streams that have not ended."""
        return sum(self._is_open(peer) for peer in self._peers.values())

    def connected(self, now: float) -> None:
        """Say hello to all exporters: the bus is (again) there."""
        self._hello_at = now
        for peer in self._peers.values():
            peer.stream.unsynced = not peer.stream.closed
            peer.hello_at = now

    def moved(self, node: str, here: bool) -> None:
        """Take in that an exporter's subscription was seen, or that it is gone.

        Until it answers it is said hello to, and nothing is acked: verdicts may not have arrived.
        """
        if not here:
            self._unanswered.pop(node, None)
        elif len(self._unanswered) < MAX_STREAMS:
            self._unanswered[node] = 0.0
        for stream_id, peer in self._peers.items():
            if stream_id.node == node:
                peer.stream.unsynced = not peer.stream.closed

    def received(self, records: Records, now: float) -> Records | None:
        """Take samples in; return those that are to be judged, None for none."""
        numbers = records.seq.tolist()
        if 0 in numbers:
            self.counts["without_number"] += len(numbers)
            return None
        peer = self._peer(records.stream, numbers[0] - 1, now, len(numbers))
        if peer is None:
            return None
        taken = []
        for row, seq in enumerate(numbers):
            refused = peer.stream.receive(seq, peer.stream.acked + 2 * BUDGET)
            if refused is None:
                taken.append(row)
            else:
                self.counts[refused] += 1
        if len(taken) == len(numbers):
            return records
        return records.take(taken) if taken else None

    def judged(self, records: Records, sent: bool = True) -> None:
        """Count samples that were taken in as judged, if their verdicts could be `sent`.

        If not they count as missing: the exporter will be asked for them again.
        """
        peer = self._peers.get(records.stream)
        if peer is None:
            return
        for seq in records.seq.tolist():
            if sent:
                peer.stream.judge(seq)
            else:
                peer.stream.forget(seq)

    def shed(self, records: Records) -> None:
        """Count samples that were taken in as shed: they are acked without having been judged."""
        peer = self._peers.get(records.stream)
        if peer is not None:
            for seq in records.seq.tolist():
                peer.stream.drop(seq)

    def status(self, event: ExporterStatus, now: float) -> None:
        """Take in where an exporter stands."""
        if event.first_unacked == 0:
            self.counts["nonsense"] += 1
            return
        peer = self._peer(_stream_of(event), event.first_unacked - 1, now)
        if peer is None:
            return
        self._unanswered.pop(event.node, None)
        self._hello_at = None
        if not peer.stream.status(event.first_unacked, event.last_seq, event.shed, now):
            self.counts["nonsense"] += 1
        peer.granted = None

    def drained(self, event: ExporterDrained, now: float) -> None:
        """Take in that an exporter has given its last sample."""
        peer = self._peer(_stream_of(event), event.last_seq, now)
        if peer is not None and not peer.stream.end(event.last_seq):
            self.counts["nonsense"] += 1
        if peer is not None:
            peer.granted = None

    def drain(self) -> None:
        """Grant no more: the sensor is about to end."""
        self._budget = 0

    def poll(self, now: float) -> list[tuple[str, MtcEvent]]:
        """Return what is to be published now: topics and events.

        Each exporter gets its part of the budget, as far as the others have not used it up.
        """
        self._forget(now)
        out = self._hellos(now)
        fair = self._budget // max(self.open, 1)
        held = sum(peer.held(now) for peer in self._peers.values())
        for stream_id, peer in self._peers.items():
            if not peer.stream.closed:
                held -= peer.held(now)
                window = min(fair, max(self._budget - held, 0))
                topic = topics.exporter(stream_id.node)
                said = self._to_exporter(stream_id, peer, window, now)
                out += [(topic, event) for event in said]
                held += peer.held(now)
        return out

    def _to_exporter(
        self, stream_id: StreamId, peer: Peer, window: int, now: float
    ) -> Iterable[MtcEvent]:
        if peer.stream.unsynced:  # an ack could be of samples that never came
            return
        for first, last in peer.stream.resend(now):
            yield Resend(self.sensor, *stream_id, first, last)
        peer.allow(window if self._is_open(peer) else 0, now)
        grant = peer.stream.acked, peer.limit - peer.stream.acked
        if grant != peer.granted or now - peer.granted_at >= GRANT_EVERY_S:
            peer.granted, peer.granted_at = grant, now
            yield Grant(self.sensor, *stream_id, *grant)

    def _hellos(self, now: float) -> list[tuple[str, MtcEvent]]:
        hello = SensorHello(self.sensor, np.array(self.shards, np.uint64))
        nodes = {node for node, at in self._unanswered.items() if now >= at}
        self._unanswered.update(dict.fromkeys(nodes, now + HELLO_EVERY_S))
        for (_, node, _), peer in self._peers.items():
            if peer.stream.unsynced and now - peer.hello_at >= HELLO_EVERY_S:
                nodes.add(node)
        for (_, node, _), peer in self._peers.items():
            if node in nodes:
                peer.hello_at = now
        out: list[tuple[str, MtcEvent]] = [(topics.exporter(node), hello) for node in sorted(nodes)]
        if self._hello_at is not None and now >= self._hello_at:
            self._hello_at = now + HELLO_EVERY_S
            out.append((topics.TO_EXPORTERS, hello))
        return out

    def _peer(self, stream_id: StreamId, base: int, now: float, told: int = 1) -> Peer | None:
        """Return a stream of ours; one not known yet begins after `base`.

        What is `told` of others, so many samples or a state, is counted.
        """
        if stream_id.shard not in self.shards:
            self.counts["other_shard"] += told
            return None
        peer = self._peers.get(stream_id)
        if peer is None:
            self._make_room(stream_id)
            self._gone.setdefault(self._known_as(stream_id.node), Totals())
            peer = self._peers[stream_id] = Peer(Stream(base, now), now)
        peer.stream.heard = now
        return peer

    def _make_room(self, new: StreamId) -> None:
        for stream_id, peer in self._peers.items():
            if stream_id[1:] == new[1:] and not peer.stream.closed:
                peer.stream.close()
        if len(self._peers) >= MAX_STREAMS:
            self.counts["evicted_streams"] += 1
            self._remove(min(self._peers, key=lambda key: self._peers[key].stream.heard))

    def _forget(self, now: float) -> None:
        for stream_id, peer in list(self._peers.items()):
            if now - peer.stream.heard >= SILENT_S and not peer.stream.closed:
                peer.stream.close()
            if peer.stream.closed and not peer.stream.queued:
                self._remove(stream_id)

    def _remove(self, stream_id: StreamId) -> None:
        left = _account(self._peers.pop(stream_id).stream)
        left = replace(left, lost=left.lost + left.in_flight, in_flight=0)
        self._gone[self._known_as(stream_id.node)] += left

    def _known_as(self, node: str) -> str:
        return node if node in self._gone or len(self._gone) < MAX_NODES else OTHER

    @staticmethod
    def _is_open(peer: Peer) -> bool:
        return not peer.stream.closed and not peer.stream.finished


def _stream_of(event: ExporterStatus | ExporterDrained) -> StreamId:
    return StreamId(event.run, event.node, event.shard)


def _account(stream: Stream) -> Totals:
    shed = stream.shed + stream.dropped
    return Totals(stream.judged, shed, stream.lost, stream.in_flight)
