"""Asking on the bus who is there, without taking part."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from mtc_sensor.config import TransportConfig
from mtc_sensor.streams import MAX_STREAMS
from mtc_sensor.transports.base import Connected, Failed, Inbox, Incoming, Subscribed
from mtc_sensor.transports.factory import make_transport
from mtc_sensor.wire import topics
from mtc_sensor.wire.events import ExporterStatus, SensorHello

_QUESTION = topics.TO_EXPORTERS, SensorHello("doctor", np.empty(0, np.uint64))
_ASK_EVERY_S = 1.0


@dataclass(frozen=True)
class Heard:
    """What was heard."""

    reached: bool
    """Whether the bus answered at all."""
    unreached: tuple[str, ...]
    """Where it did not, if there is more than one way to it."""
    exporters: tuple[ExporterStatus, ...]
    """The last word of each exporter and shard."""


def listen(config: TransportConfig, wait_s: float) -> Heard:
    """Ask exporters for `wait_s` seconds where they stand.

    They need not have a sensor, and one that runs does not notice. Raises MtcError for a way that
    cannot be taken.
    """
    inbox = Inbox()
    transport = make_transport(config, (), inbox)
    exporters: dict[tuple[str, int], ExporterStatus] = {}
    now, reached = time.monotonic(), False
    ask_at, end = now, now + wait_s
    transport.start()
    try:
        while now < end:
            if now >= ask_at:
                transport.publish([_QUESTION], transport.generation)
                ask_at = now + _ASK_EVERY_S
            for item in inbox.get(min(ask_at, end) - now):
                reached |= isinstance(item, Connected | Subscribed)
                _take(item, exporters)
            now = time.monotonic()
        unreached = transport.unreached
    finally:
        transport.close()
    return Heard(reached, unreached, tuple(exporters[key] for key in sorted(exporters)))


def _take(item: Incoming, exporters: dict[tuple[str, int], ExporterStatus]) -> None:
    if isinstance(item, Failed):
        raise item.fault
    if isinstance(item, ExporterStatus):
        key = (item.node, item.shard)
        if key in exporters or len(exporters) < MAX_STREAMS:
            exporters[key] = item
