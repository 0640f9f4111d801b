"""Messages that wait for the ZeroMQ socket to take them."""

from __future__ import annotations

from dataclasses import dataclass

from mtc_sensor.wire import binary_events
from mtc_sensor.wire.events import MtcEvent, VerdictBatch

_UNHEARD_S = 5.0
"""How long verdicts wait for somebody to subscribe to their topic; the rest is repeated."""


@dataclass(frozen=True)
class Outgoing:
    """An event in its binary form."""

    topic: bytes
    payload: bytes
    until: float | None
    """When it counts as dropped, if nobody has subscribed to the topic; None: that is no loss."""


def outgoing(topic: str, event: MtcEvent, now: float) -> Outgoing:
    """Encode an event at the time `now`, monotonic seconds."""
    until = now + _UNHEARD_S if isinstance(event, VerdictBatch) else None
    return Outgoing(topic.encode(), binary_events.encode(event), until)


def node_of(topic: bytes) -> bytes:
    """Return the last part of a topic: who listens to a topic of the MTC events."""
    return topic.rstrip(b"/").rpartition(b"/")[2]
