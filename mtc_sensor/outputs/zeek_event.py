"""Verdicts as events for Zeek, many in one: an event costs Zeek more than what is in it."""

from __future__ import annotations

from collections.abc import Sequence

from mtc_sensor.wire import topics
from mtc_sensor.wire.events import Verdict, VerdictBatch

MOST = 64
"""Verdicts in an event."""
_ENOUGH = 1 << 18
"""Bytes after which an event gets no further verdict; a transport takes 2^20."""
_PLAIN = 1200
"""Bytes of a verdict in JSON without its label and detail, at most."""


def verdict_events(
    said: Sequence[Sequence[Verdict]],
) -> tuple[list[tuple[str, VerdictBatch]], list[set[int]]]:
    """Group the verdicts on samples by stream, in their order.

    Returns
    -------
    messages
        Topics and events.
    places
        For each sample, which of the messages hold its verdicts.
    """
    groups = _Groups()
    places = [{groups.add(verdict) for verdict in its} for its in said]
    messages = [
        (topics.verdicts_for(group[0].node), VerdictBatch(tuple(group))) for group in groups.all
    ]
    return messages, places


class _Groups:
    """Verdicts, those of a stream together."""

    def __init__(self) -> None:
        self.all: list[list[Verdict]] = []
        self._bytes: list[int] = []
        self._open: dict[tuple[str, str, str, int], int] = {}

    def add(self, verdict: Verdict) -> int:
        """Put a verdict into its stream's last group, or the next one; return which."""
        stream = (verdict.sensor, verdict.run, verdict.node, verdict.shard)
        place = self._open.get(stream)
        if place is None or len(self.all[place]) >= MOST or self._bytes[place] >= _ENOUGH:
            place = self._open[stream] = len(self.all)
            self.all.append([])
            self._bytes.append(0)
        self.all[place].append(verdict)
        self._bytes[place] += _PLAIN + 2 * (len(verdict.label) + len(verdict.detail))
        return place
