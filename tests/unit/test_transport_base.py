from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from mtc_sensor import zeek
from mtc_sensor.config import CurveConfig, TransportConfig, WebSocketConfig, ZeroMQConfig
from mtc_sensor.errors import ConfigError, TransportError, WireError, ZeekError
from mtc_sensor.transports.base import Backoff, Connected, Failed, Inbox, Message, Transport
from mtc_sensor.transports.broker import load_bindings
from mtc_sensor.transports.broker_values import to_broker
from mtc_sensor.transports.factory import make_transport
from mtc_sensor.transports.websocket import WebSocket
from mtc_sensor.wire import binary_events
from mtc_sensor.wire.envelope import ZeekEvent
from mtc_sensor.wire.events import ExporterDrained, MtcEvent, decode, encode
from mtc_sensor.wire.records import Records

RECORDED = Path(__file__).parents[1] / "data" / "wire"
EVENT = ExporterDrained("r1", "zeek", 0, 1)


def itself(event: MtcEvent) -> MtcEvent:
    return event


def test_an_inbox_is_emptied_in_order() -> None:
    inbox = Inbox()
    assert inbox.put([EVENT], itself) == 0
    inbox.tell(Connected(1))
    assert inbox.get(0.0) == [EVENT, Connected(1)]
    assert inbox.get(0.0) == []


def test_a_full_inbox_takes_notices_only() -> None:
    inbox = Inbox(size=1)
    assert inbox.put([EVENT, EVENT], itself) == 1
    assert inbox.put([EVENT], itself) == 1
    inbox.tell(Connected(1))
    inbox.tell(Connected(2))
    assert inbox.put([EVENT], itself) == 1
    assert len(inbox) == 3
    assert inbox.get(0.0) == [EVENT, Connected(1), Connected(2)]
    assert len(inbox) == 0


def test_messages_are_decoded_by_whoever_empties_an_inbox() -> None:
    inbox, read = Inbox(), list[tuple[int, int]]()

    def decode(message: int) -> MtcEvent | None:
        read.append((message, threading.get_ident()))
        return EVENT if message else None

    thread = threading.Thread(target=inbox.put, args=([1, 0], decode))
    thread.start()
    thread.join()
    assert read == []
    assert inbox.get(0.0) == [EVENT]
    assert read == [(1, threading.get_ident()), (0, threading.get_ident())]


def test_whoever_waits_for_an_inbox_is_woken() -> None:
    inbox = Inbox()
    timer = threading.Timer(0.01, inbox.put, ([EVENT], itself))
    timer.start()
    assert inbox.get(10.0) == [EVENT]


def test_backoff_doubles_up_to_its_limit_and_begins_again() -> None:
    backoff = Backoff(first=1.0, most=5.0, chance=lambda: 1.0)
    assert [backoff.next() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    backoff.reset()
    assert backoff.next() == 1.0


def test_half_of_a_backoff_is_chance() -> None:
    assert Backoff(first=1.0, chance=lambda: 0.0).next() == 0.5
    assert all(0.5 <= Backoff(first=1.0).next() <= 1.0 for _ in range(100))


class Scripted(Transport):
    """Receives what it is made with, then fails."""

    def __init__(self, inbox: Inbox, received: list[ZeekEvent | WireError]) -> None:
        super().__init__(inbox, ())
        self._received = received

    connected = False

    def publish(self, messages: Sequence[tuple[str, MtcEvent]], generation: int) -> list[bool]:
        raise NotImplementedError

    def _run(self) -> None:
        self._deliver(self._decode, self._received)
        raise OSError("gone")

    @staticmethod
    def _decode(item: ZeekEvent | WireError) -> MtcEvent | Records:
        if isinstance(item, WireError):
            raise item
        return decode(item)


def test_drops_are_counted_by_name_and_a_fault_is_passed_on() -> None:
    inbox = Inbox(size=3)
    good = encode(EVENT)
    transport = Scripted(inbox, [good, WireError("x"), ZeekEvent("MTC::other", (1,)), good])
    transport.start()
    transport.close()
    first, last = inbox.get(0.0)
    assert first == EVENT
    assert isinstance(last, Failed)
    assert str(last.fault) == "gone"
    assert transport.counts == {"undecodable": 2, "inbox_full": 1}


def mutants(text: bytes, count: int) -> Iterator[bytes]:
    """Yield messages with bytes changed, put in, left out, or cut off."""
    rng = random.Random(1)
    for _ in range(count):
        data = bytearray(text)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data))
            end = at + rng.choice((0, 1, 1, 1, 9))
            data[at:end] = rng.randbytes(rng.choice((0, 1, 1, 1, 9)))
        yield bytes(data[: rng.choice((len(data), len(data), rng.randrange(len(data) + 1)))])


def assert_survives(
    transport: Transport,
    inbox: Inbox,
    decode: Callable[[Message], MtcEvent | Records],
    messages: Iterable[Message],
) -> None:
    records = []

    def watched(message: Message) -> MtcEvent | Records:
        event = decode(message)
        assert isinstance(event, Records)
        records.append(len(event))
        return event

    transport._deliver(watched, list(messages))
    found = inbox.get(0.0)
    undecodable = transport.counts["undecodable"]
    assert sum(len(item) for item in found if isinstance(item, Records)) == sum(records)
    assert len(found) == len(records)
    assert len(records) + undecodable == 10_000
    assert undecodable > 5_000


def test_mutated_messages_over_zeromq_are_counted() -> None:
    inbox = Inbox(size=10_000)
    message = (RECORDED / "MTC-sample_batch.bin").read_bytes()
    sent = mutants(message, 10_000)
    assert_survives(Scripted(inbox, []), inbox, binary_events.decode, sent)


def test_mutated_messages_over_websocket_are_counted() -> None:
    inbox = Inbox(size=10_000)
    transport = WebSocket(inbox, (), "ws://127.0.0.1:1/")
    message = (RECORDED / "MTC-sample_batch.json").read_bytes()
    texts = (data.decode(errors="replace") for data in mutants(message, 10_000))
    assert_survives(transport, inbox, transport._decode, texts)


def test_missing_bindings_name_the_other_transports(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delitem(sys.modules, "broker", raising=False)
    with pytest.raises(TransportError, match=r"zeek-config .*websocket .*zeromq"):
        load_bindings()
    script = tmp_path / "zeek-config"
    script.write_text(f"#!/bin/sh\necho {tmp_path}\n")
    script.chmod(0o755)
    (tmp_path / "broker.py").write_text("")
    with pytest.raises(TransportError, match=r"no Broker bindings .*websocket .*zeromq"):
        load_bindings()


def test_what_no_event_holds_has_no_place_in_broker() -> None:
    with pytest.raises(WireError, match="a bool has no place"):
        to_broker((True,), pytest)


def test_a_missing_zeek_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ZeekError, match="put the bin folder of your Zeek"):
        zeek.program()


def test_files_of_keys_and_certificates_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    curve = CurveConfig(
        server_publickey="x" * 40, client_publickey="x" * 40, client_secretkey_file=missing
    )
    config = TransportConfig(zeromq=ZeroMQConfig(curve=curve))
    with pytest.raises(ConfigError, match=f"client_secretkey_file: {missing}"):
        make_transport(config, [0], Inbox())
    secure = WebSocketConfig(url="wss://127.0.0.1/", ca=missing)
    with pytest.raises(TransportError, match=f"{missing}: No such file"):
        make_transport(TransportConfig(kind="websocket", websocket=secure), [0], Inbox())
