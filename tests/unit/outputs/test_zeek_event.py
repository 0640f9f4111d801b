"""Verdicts in as few events as may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mtc_sensor.outputs.zeek_event import MOST, verdict_events
from mtc_sensor.transports.base import MAX_MESSAGE
from mtc_sensor.wire import events, websocket_api
from mtc_sensor.wire.events import Verdict
from mtc_sensor.wire.fields import MAX_NAME, MAX_TEXT
from mtc_sensor.wire.values import MAX_COUNT
from mtc_sensor.wire.websocket_api import DataMessage
from tests.unit.wire.test_events import VERDICT


def test_verdicts_stay_in_order_and_so_many_go_together() -> None:
    said = [replace(VERDICT, seq=seq) for seq in range(2 * MOST + 1)]
    messages = verdict_events(said)
    assert {topic for topic, _ in messages} == {"/zeek/mtc/verdict/worker-1/"}
    assert [len(batch.verdicts) for _, batch in messages] == [MOST, MOST, 1]
    assert [verdict for _, batch in messages for verdict in batch.verdicts] == said
    for _, batch in messages:
        events.encode(batch)


def test_nothing_said_is_no_event() -> None:
    assert verdict_events([]) == []


def test_what_models_say_at_most_is_taken_by_the_transports() -> None:
    # In JSON a quotation mark is two characters.
    longest = replace(
        VERDICT, seq=MAX_COUNT, shard=MAX_COUNT, uid="C" * 24,
        model='"' * MAX_NAME,
        label='"' * MAX_TEXT, detail='"' * MAX_TEXT, flags=MAX_COUNT, score=1 / 3,
    )  # fmt: skip
    short = replace(longest, label="benign", detail='"' * 300)
    for verdict in (longest, short):
        messages = verdict_events([verdict] * 200)
        assert sum(len(batch.verdicts) for _, batch in messages) == 200
        assert max(size_in_json(batch.verdicts) for _, batch in messages) < MAX_MESSAGE


def size_in_json(verdicts: Sequence[Verdict]) -> int:
    value = events.encode(events.VerdictBatch(verdicts)).to_value()
    return len(websocket_api.encode(DataMessage("/zeek/mtc/verdict/worker-1/", value)))
