"""Topics of the MTC events.

Zeek matches subscriptions by prefix: the closing slash keeps worker-1 apart from worker-10.
"""

from __future__ import annotations

TO_EXPORTERS = "/zeek/mtc/exporters/"
"""Sensors to all exporters."""

ALL_STATUSES = "/zeek/mtc/sensors/"
"""What `statuses_of` says for any shard begins with this."""


def samples_of(shard: int) -> str:
    """Return the topic from exporters to the sensor that has `shard`."""
    return f"/zeek/mtc/sample/{shard}/"


def statuses_of(shard: int) -> str:
    """Return the topic from exporters to whoever judges `shard`, of where they stand.

    Not one for all sensors: what one that has stopped does not read piles up on the bus, and of its
    own shard exporters find out and say no more.
    """
    return f"/zeek/mtc/sensors/{shard}/"


def verdicts_for(node: str) -> str:
    """Return the topic from sensors to the node that holds the connection."""
    return f"/zeek/mtc/verdict/{node}/"


def exporter(node: str) -> str:
    """Return the topic from sensors to one exporter."""
    return f"/zeek/mtc/exporter/{node}/"


def exporter_of(topic: str) -> str | None:
    """Return the node whose own topic this is; None for any other topic."""
    node = topic.removeprefix(exporter("")[:-1]).removesuffix("/")
    return node if node and "/" not in node and topic == exporter(node) else None
