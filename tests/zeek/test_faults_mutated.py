"""Ten thousand mutated messages at a running sensor, over each transport, and at a real Zeek."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import zmq
from websockets.sync.server import ServerConnection, serve

from mtc_sensor.config import BrokerConfig, TransportConfig, WebSocketConfig, ZeroMQConfig
from mtc_sensor.errors import WireError
from mtc_sensor.flow import Kind
from mtc_sensor.sensor import Sensor
from mtc_sensor.transports.broker import load_bindings
from mtc_sensor.transports.broker_values import from_broker, to_broker
from mtc_sensor.transports.zeromq import FORMAT
from mtc_sensor.wire import broker_bin, events, topics, websocket_api
from mtc_sensor.wire.envelope import ZeekEvent
from mtc_sensor.wire.events import Grant, MtcEvent, Resend, SensorHello, Verdict, VerdictBatch
from mtc_sensor.wire.records import Records
from mtc_sensor.wire.websocket_api import Ack
from tests.integration.exporter import ZeroMQBus
from tests.unit.wire.test_fuzz import EVENTS, as_json, mutate, read_binary, read_json
from tests.zeek.beside import DEMO, ROOT, Zeek, meet, running, wait_for
from tests.zeek.echo import make_sensor
from tests.zeek.test_faults_replay import assert_exact

MESSAGES, CHUNK = 10_000, 500


def mutated(originals: list[bytes]) -> list[bytes]:
    """Return mutations of messages, all different from the originals."""
    rng = random.Random(8)
    found: list[bytes] = []
    while len(found) < MESSAGES:
        data = mutate(originals[len(found) % len(originals)], rng)
        if data not in originals:
            found.append(data)
    return found


def is_refused(read: Callable[[Any], object], data: object) -> bool:
    try:
        read(data)
    except WireError:
        return True
    return False


def assert_counted(
    sensor: Sensor,
    messages: list[Any],
    read: Callable[[Any], object],
    send: Callable[[list[Any]], None],
) -> None:
    """Assert that of messages sent, those that `read` refuses are counted, and nothing else is."""
    refused = 0
    for begin in range(0, MESSAGES, CHUNK):  # what finds no room on the bus is dropped
        chunk = messages[begin : begin + CHUNK]
        refused += sum(is_refused(read, data) for data in chunk)
        send(chunk)
        wait_for(lambda: sensor.dropped.get("undecodable") == refused)  # noqa: B023
    assert "inbox_full" not in sensor.dropped
    assert MESSAGES // 2 < refused < MESSAGES


def publish(endpoint: str, topic: str, messages: Iterable[bytes]) -> None:
    """Publish messages on the cluster's bus, once somebody listens."""
    with zmq.Context() as context, context.socket(zmq.XPUB) as sock:
        sock.setsockopt(zmq.XPUB_NODROP, 1)
        sock.connect(endpoint)
        while sock.recv() != b"\1" + topic.encode():
            pass
        for data in messages:
            sock.send_multipart([topic.encode(), b"peer", FORMAT, data])


def test_over_zeromq(tmp_path: Path) -> None:
    recorded = sorted((ROOT / "tests" / "data" / "wire").glob("MTC-*.bin"))
    messages = mutated([path.read_bytes() for path in recorded])
    with ZeroMQBus([], tmp_path) as bus:
        config = TransportConfig(zeromq=ZeroMQConfig(xpub=bus.xpub, xsub=bus.xsub))
        with running(lambda: make_sensor(config)) as sensor:
            assert_counted(
                sensor,
                messages,
                read_binary,
                lambda chunk: publish(bus.xsub, topics.statuses_of(0), chunk),
            )


def test_over_websocket() -> None:
    messages = mutated([as_json(event) for event in EVENTS])
    clients: list[ServerConnection] = []

    def accept(connection: ServerConnection) -> None:
        connection.recv()
        connection.send(websocket_api.encode(Ack("zeek", "8.2.2")))
        clients.append(connection)
        for _ in connection:
            pass

    def send(chunk: list[bytes]) -> None:
        for data in chunk:  # no other text than UTF-8 can be sent
            clients[0].send(data.decode(errors="replace"))

    with serve(accept, "127.0.0.1", 0, compression=None) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        port = server.socket.getsockname()[1]
        url = f"ws://127.0.0.1:{port}/v1/messages/json"
        config = TransportConfig(kind="websocket", websocket=WebSocketConfig(url=url))
        with running(lambda: make_sensor(config)) as sensor:
            wait_for(lambda: clients)
            assert_counted(
                sensor,
                messages,
                lambda data: read_json(data.decode(errors="replace").encode()),
                send,
            )
        server.shutdown()
    assert len(clients) == 1


def misfit(data: Any, rng: random.Random, bindings: Any) -> Any:
    """Replace, remove or repeat something in the lists that make up a message."""
    if isinstance(data, list) and data and rng.random() < 0.9:
        place = rng.randrange(len(data))
        end = place + 1 - rng.randrange(2)
        middle = [misfit(data[place], rng, bindings)] * rng.choice((0, 1, 1, 1, 1, 2))
        return [*data[:place], *middle, *data[end:]]
    return rng.choice(
        [
            None,
            True,
            -1,
            2.5,
            b"",
            b"\xff",
            bindings.Count(0),
            bindings.Count(2**64 - 1),
            [],
            {1: 2},
        ]
    )


@pytest.mark.zeek
def test_over_broker() -> None:
    """Its own library decodes bytes: here it is values that do not fit."""
    bindings, rng = load_bindings(), random.Random(8)
    originals = [to_broker(events.encode(event).to_value(), bindings) for event in EVENTS]
    messages = [misfit(originals[n % len(originals)], rng, bindings) for n in range(MESSAGES)]

    def read(data: object) -> MtcEvent | Records:
        return events.decode(ZeekEvent.from_value(from_broker(bindings.Data.from_py(data))))

    with bindings.Endpoint() as peer:
        address = "127.0.0.1:{}".format(peer.listen("127.0.0.1", 0))
        config = TransportConfig(kind="broker", broker=BrokerConfig(peers=[address]))

        def send(chunk: list[object]) -> None:
            for data in chunk:
                peer.publish(topics.statuses_of(0), bindings.Data.from_py(data))

        with running(lambda: make_sensor(config)) as sensor:
            wait_for(peer.peers)
            assert_counted(sensor, messages, read, send)


def verdicts() -> VerdictBatch:
    place = ("peer", "run", "zeek", 0, 1, "Cuid")
    one = Verdict(*place, int(Kind.EARLY), "model", "benign", 0.5, 0, "")
    return VerdictBatch((one, one))


COUNTS = """\
module MTC;

global strange = 0;
global greeted = 0;

event MTC::verdict_batch(v: count, sensor: string, their_run: string, n: string, sh: count,
    verdicts: vector of Opinion)
	{ strange += their_run == run ? 0 : 1; }
event MTC::grant(v: count, sensor: string, their_run: string, n: string, sh: count, a: count,
    w: count)
	{ strange += their_run == run ? 0 : 1; }
event MTC::resend(v: count, sensor: string, their_run: string, n: string, sh: count, f: count,
    l: count)
	{ strange += their_run == run ? 0 : 1; }
event MTC::sensor_hello(v: count, sensor: string, shards: vector of count)
	{
	strange += sensor == "echo" ? 0 : 1;
	greeted += sensor != "echo" && v == version ? 1 : 0;
	}
event zeek_done()
	{ print told, fmt("counter strange %d greeted %d", strange, greeted); }
"""
"""Counts what is not from the sensor that judges: each event of it, and hellos that make sense."""


@pytest.mark.zeek
def test_zeek_passes_over_what_makes_no_sense(tmp_path: Path) -> None:
    sent: list[MtcEvent] = [
        verdicts(),
        Grant("peer", "run", "zeek", 0, 0, 10),
        Resend("peer", "run", "zeek", 0, 1, 10),
        SensorHello("peer", np.array([0], np.uint64)),
    ]
    messages = mutated([broker_bin.encode_event(events.encode(event)) for event in sent])
    config, script = meet("zeromq", tmp_path)
    counting = tmp_path / "counts.zeek"
    counting.write_text(COUNTS)
    with Zeek(tmp_path / "zeek", DEMO, script, counting) as zeek:
        publish(config.zeromq.xsub, topics.TO_EXPORTERS, messages)
        with running(lambda: make_sensor(config)) as sensor:
            assert_exact(zeek, sensor)
    counters = zeek.counters
    undecodable = zeek.errors.count("Failed to unserialize message")
    assert undecodable + counters["strange"] == MESSAGES
    assert counters["refused"] == counters["strange"] - counters["greeted"] > MESSAGES // 100
