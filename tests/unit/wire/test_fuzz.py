"""Mutated messages: whatever arrives, a decoder returns an event or raises WireError."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from mtc_sensor.errors import WireError
from mtc_sensor.wire import broker_bin, events, websocket_api
from mtc_sensor.wire.envelope import ZeekEvent
from mtc_sensor.wire.events import MtcEvent
from mtc_sensor.wire.records import Records
from tests.unit.wire.build import batch
from tests.unit.wire.test_events import OTHERS

MESSAGES = 10_000
EVENTS: list[MtcEvent] = [batch(2, packets=3, heads=2), *OTHERS]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change, insert, remove, repeat or cut, one to four times."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        begin = rng.randrange(len(out) + 1)
        end = min(len(out), begin + rng.choice((0, 1, 1, 2, 9, 40)))
        change = rng.randrange(5)
        if change == 0 and begin < len(out):
            out[begin] ^= 1 << rng.randrange(8)
        elif change == 1:
            out[begin:begin] = rng.randbytes(rng.randint(1, 10))
        elif change == 2:
            del out[begin:end]
        elif change == 3:
            out[begin:begin] = out[begin:end] * rng.randint(1, 50)
        else:
            out[begin:end] = rng.choice((b"\x0e\x01" * 50, b"\xff" * 5, b"{", b'"', b"[" * 9, b"0"))
    return bytes(out)


def read_binary(data: bytes) -> MtcEvent | Records:
    return events.decode(broker_bin.decode_event(data))


def read_json(data: bytes) -> MtcEvent | Records:
    message = websocket_api.decode(data.decode("utf-8", "surrogateescape"))
    if not isinstance(message, websocket_api.DataMessage):
        raise WireError("no data message")
    return events.decode(ZeekEvent.from_value(message.value))


def as_json(event: MtcEvent) -> bytes:
    value = events.encode(event).to_value()
    return websocket_api.encode(websocket_api.DataMessage("/t/", value)).encode()


@pytest.mark.parametrize(
    ("write", "read"),
    [
        (lambda event: broker_bin.encode_event(events.encode(event)), read_binary),
        (as_json, read_json),
    ],
    ids=["binary", "json"],
)
def test_mutated_messages(
    write: Callable[[MtcEvent], bytes], read: Callable[[bytes], MtcEvent | Records]
) -> None:
    rng = random.Random(8)
    originals = [write(event) for event in EVENTS]
    refused = 0
    for number in range(MESSAGES):
        data = mutate(originals[number % len(originals)], rng)
        try:
            event = read(data)
        except WireError:
            refused += 1
            continue
        if not isinstance(event, Records):
            # What was let through is in range: it can be sent again.
            events.encode(event)
    assert MESSAGES // 2 < refused < MESSAGES


def test_the_originals_are_read() -> None:
    data = broker_bin.encode_event(events.encode(EVENTS[0]))
    assert isinstance(read_binary(data), Records)
    assert isinstance(read_json(as_json(EVENTS[0])), Records)
