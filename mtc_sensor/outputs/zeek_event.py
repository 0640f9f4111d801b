"""Verdicts as events for Zeek, many in one: an event costs Zeek more than what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from mtc_sensor.wire import topics
from mtc_sensor.wire.answers import Answers
from mtc_sensor.wire.events import Verdict, VerdictBatch

MOST = 64
"""Verdicts in an event."""
_ENOUGH = 1 << 18
"""Bytes after which an event gets no further verdict; a transport takes 2^20."""
_PLAIN = 800
"""Bytes of a verdict in JSON without its label and detail, at most."""


def verdict_events(verdicts: Sequence[Verdict]) -> list[tuple[str, VerdictBatch]]:
    """Return topics and events for verdicts on samples of one stream, in their order."""
    begins: list[int] = []
    room = 0
    for number, size in enumerate(_sizes(verdicts)):
        if room <= 0 or number - begins[-1] >= MOST:
            begins.append(number)
            room = _ENOUGH
        room -= size
    groups = [verdicts[first:last] for first, last in pairwise([*begins, len(verdicts)])]
    return [(topics.verdicts_for(_node(group)), VerdictBatch(group)) for group in groups]


def _sizes(verdicts: Sequence[Verdict]) -> list[int]:
    if isinstance(verdicts, Answers):
        said = list(zip(verdicts.label, verdicts.detail, strict=True))
    else:
        said = [(verdict.label, verdict.detail) for verdict in verdicts]
    return [_PLAIN + 2 * (len(label) + len(detail)) for label, detail in said]


def _node(verdicts: Sequence[Verdict]) -> str:
    return verdicts.records.stream.node if isinstance(verdicts, Answers) else verdicts[0].node
