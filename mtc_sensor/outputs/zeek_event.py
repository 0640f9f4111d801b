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


def verdict_events(verdicts: Sequence[Verdict]) -> list[tuple[str, VerdictBatch]]:
    """Return topics and events for verdicts on samples of one stream, in their order."""
    groups: list[list[Verdict]] = []
    room = 0
    for verdict in verdicts:
        if room <= 0 or len(groups[-1]) >= MOST:
            groups.append([])
            room = _ENOUGH
        groups[-1].append(verdict)
        room -= _PLAIN + 2 * (len(verdict.label) + len(verdict.detail))
    return [(topics.verdicts_for(group[0].node), VerdictBatch(tuple(group))) for group in groups]
