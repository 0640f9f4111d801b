"""Listening to the bus without taking part: who is there."""

from __future__ import annotations

import time
from dataclasses import dataclass

from mtc_sensor.config import TransportConfig
from mtc_sensor.streams import MAX_STREAMS
from mtc_sensor.transports.base import Connected, Failed, Inbox, Incoming, Subscribed
from mtc_sensor.transports.factory import make_transport
from mtc_sensor.wire.events import ExporterStatus


@dataclass(frozen=True)
class Heard:
    """What was heard."""

    reached: bool
    """Whether the bus answered at all."""
    exporters: tuple[ExporterStatus, ...]
    """The last word of each exporter and shard."""


def listen(config: TransportConfig, wait_s: float) -> Heard:
    """Listen for `wait_s` seconds to what exporters say of themselves.

    Live they do every ``MTC::status_interval``, 5 s. Raises MtcError for a way that cannot be
    taken.
    """
    inbox = Inbox()
    transport = make_transport(config, (), inbox)
    exporters: dict[tuple[str, int], ExporterStatus] = {}
    reached, end = False, time.monotonic() + wait_s
    transport.start()
    try:
        while (left := end - time.monotonic()) > 0:
            for item in inbox.get(left):
                reached |= isinstance(item, Connected | Subscribed)
                _take(item, exporters)
    finally:
        transport.close()
    return Heard(reached, tuple(exporters[key] for key in sorted(exporters)))


def _take(item: Incoming, exporters: dict[tuple[str, int], ExporterStatus]) -> None:
    if isinstance(item, Failed):
        raise item.fault
    if isinstance(item, ExporterStatus):
        key = (item.node, item.shard)
        if key in exporters or len(exporters) < MAX_STREAMS:
            exporters[key] = item
