"""The sensor over each transport, with an exporter of our own at the other end."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import zmq
from websockets.sync.server import ServerConnection, serve

from mtc_sensor.batching import Batcher
from mtc_sensor.errors import TransportError
from mtc_sensor.measures import Measures
from mtc_sensor.outputs.zeek_event import MOST
from mtc_sensor.sensor import Judge, Sensor
from mtc_sensor.streams import BUDGET, Streams, Totals
from mtc_sensor.transports import outgoing
from mtc_sensor.transports.base import Inbox, Incoming, Subscribed, Transport, Unsubscribed
from mtc_sensor.transports.websocket import APPLICATION, WebSocket, tls_context
from mtc_sensor.transports.zeromq import FORMAT, Curve, ZeroMQ
from mtc_sensor.wire import topics
from mtc_sensor.wire.assemble import without_heads
from mtc_sensor.wire.events import Grant, MtcEvent, SensorHello, Verdict, VerdictBatch
from mtc_sensor.wire.records import Records
from mtc_sensor.wire.sample import Sample
from tests.integration.exporter import Exporter, WebSocketBus, ZeroMQBus
from tests.unit.wire.build import records_of, sample

TOPICS = (topics.samples_of(0), topics.statuses_of(0))
TIMEOUT_S = 60.0


def judge(parts: Sequence[Records], strain: float = 0.0) -> Iterator[list[list[Verdict]]]:
    yield [
        [
            Verdict("s1", *identity, "echo", words, 0.5, 0, "")
            for identity, words in zip(
                records.identities(range(len(records))),
                without_heads(records).documents(),
                strict=True,
            )
        ]
        for records in parts
    ]


@contextmanager
def running(
    transport: Transport,
    inbox: Inbox,
    judge: Judge = judge,
    batcher: Batcher | None = None,
    measures: Measures | None = None,
) -> Iterator[Sensor]:
    sensor = Sensor(Streams("s1", [0]), transport, inbox, judge, batcher, measures)
    ends = threading.Event()
    thread = threading.Thread(target=sensor.run, args=(ends.is_set,))
    thread.start()
    try:
        yield sensor
    finally:
        ends.set()
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()


@contextmanager
def over_zeromq(exporters: Sequence[Exporter], folder: Path) -> Iterator[tuple[Sensor, ZeroMQBus]]:
    inbox = Inbox()
    with ZeroMQBus(exporters, folder) as bus:
        transport = ZeroMQ(inbox, TOPICS, bus.xpub, bus.xsub)
        with running(transport, inbox) as sensor:
            yield sensor, bus


@contextmanager
def over_websocket(
    exporters: Sequence[Exporter], drop_after: int | None = None
) -> Iterator[tuple[Sensor, WebSocketBus]]:
    inbox, bus = Inbox(), WebSocketBus(exporters, drop_after)
    with bus, running(WebSocket(inbox, TOPICS, bus.url), inbox) as sensor:
        yield sensor, bus


def topics_of(
    kind: type[Subscribed | Unsubscribed], heard: list[Incoming], inbox: Inbox
) -> set[str]:
    heard += inbox.get(0.05)
    return {item.topic for item in heard if isinstance(item, kind)}


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < end, "nothing happened for too long"
        time.sleep(0.01)


def samples(count: int) -> list[Sample]:
    return [sample(packets=8, heads=1, seq=i) for i in range(count)]


def assert_all_judged(exporter: Exporter, sensor: Sensor) -> None:
    assert exporter.done.wait(TIMEOUT_S)
    count = len(exporter.samples)
    assert {verdict.seq for verdict in exporter.verdicts} == set(range(1, count + 1))
    assert sensor.totals == Totals(judged=count, shed=0, lost=0, in_flight=0)
    assert exporter.most_ahead <= BUDGET


def test_every_sample_is_judged_over_zeromq(tmp_path: Path) -> None:
    exporter = Exporter(samples(2000), lose={1, 700, 701, 2000})
    with over_zeromq([exporter], tmp_path) as (sensor, _):
        assert_all_judged(exporter, sensor)


def test_every_sample_is_judged_over_websocket() -> None:
    exporter = Exporter(samples(2000), lose={1, 700, 701, 2000})
    with over_websocket([exporter]) as (sensor, bus):
        assert_all_judged(exporter, sensor)
        assert bus.headers == [APPLICATION]
        assert bus.subscriptions == [list(TOPICS)]


class RefusingOnce(ZeroMQ):
    """Does not send the second message of the first two."""

    refused = False

    def publish(self, messages: Sequence[tuple[str, MtcEvent]], generation: int) -> list[bool]:
        if self.refused or len(messages) != 2:
            return super().publish(messages, generation)
        self.refused = True
        return [*super().publish(messages[:1], generation), False]


def test_a_sample_is_judged_again_unless_all_its_verdicts_were_sent(tmp_path: Path) -> None:
    models = [f"model-{number}" for number in range(MOST + 1)]

    def all_judge(parts: Sequence[Records], strain: float) -> Iterator[list[list[Verdict]]]:
        yield [[replace(its[0], model=model) for model in models] for its in next(judge(parts))]

    exporter, inbox = Exporter(samples(1)), Inbox()
    with ZeroMQBus([exporter], tmp_path) as bus:
        transport = RefusingOnce(inbox, TOPICS, bus.xpub, bus.xsub)
        with running(transport, inbox, all_judge) as sensor:
            assert_all_judged(exporter, sensor)
    assert transport.refused
    assert [verdict.model for verdict in exporter.verdicts] == models[:MOST] + models


def test_whether_the_bus_is_there(tmp_path: Path) -> None:
    inbox = Inbox()
    with ZeroMQBus([], tmp_path) as bus:
        zeromq = ZeroMQ(inbox, TOPICS, bus.xpub, bus.xsub)
        assert not zeromq.connected
        zeromq.start()
        wait_for(lambda: zeromq.connected)
    wait_for(lambda: not zeromq.connected)
    zeromq.close()
    websocket = WebSocketBus([])
    with websocket:
        over_it = WebSocket(inbox, TOPICS, websocket.url)
        assert not over_it.connected
        over_it.start()
        wait_for(lambda: over_it.connected)
    wait_for(lambda: not over_it.connected)
    over_it.close()


def test_a_dropped_websocket_is_connected_again_and_nothing_is_lost() -> None:
    exporter = Exporter(samples(1500))
    with over_websocket([exporter], drop_after=15) as (sensor, bus):
        assert_all_judged(exporter, sensor)
        assert bus.subscriptions == [list(TOPICS)] * 2


def test_a_restarted_proxy_is_connected_again_and_nothing_is_lost(tmp_path: Path) -> None:
    exporter = Exporter(samples(1500))
    with over_zeromq([exporter], tmp_path) as (sensor, bus):
        wait_for(lambda: len(exporter.verdicts) > 300)
        bus.close()
        with ZeroMQBus([exporter], tmp_path):
            assert_all_judged(exporter, sensor)


def test_a_log_says_whether_the_bus_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mtc_sensor")
    inbox, buses = Inbox(), [ZeroMQBus([], tmp_path) for _ in range(2)]
    told = [f"zeromq {buses[0].xpub}: {what}" for what in ("connected", "disconnected")]
    with running(ZeroMQ(inbox, TOPICS, buses[0].xpub, buses[0].xsub), inbox):
        wait_for(lambda: "no connection, trying again" in caplog.text)
        time.sleep(0.5)  # several attempts
        for number, bus in enumerate(buses, 1):
            with bus:
                wait_for(lambda: caplog.messages.count(told[0]) == number)  # noqa: B023
            wait_for(lambda: caplog.messages.count(told[1]) == number)  # noqa: B023
    outcomes = [text for text in caplog.messages if text.startswith("zeromq ")]
    assert all(before != after for before, after in pairwise(outcomes))
    exporter = Exporter(samples(20))
    with over_websocket([exporter], drop_after=3) as (sensor, websocket):
        assert_all_judged(exporter, sensor)
        begin = f"websocket {websocket.url}: "
        wait_for(lambda: sum(text.startswith(begin) for text in caplog.messages) >= 3)
    said = [text.removeprefix(begin) for text in caplog.messages if text.startswith(begin)]
    first, lost, again = said[:3]
    assert first == again == "connected to zeek"
    assert "1008 (policy violation)" in lost


def test_two_exporters_share_the_windows(tmp_path: Path) -> None:
    exporters = [Exporter(samples(1000), "worker-1"), Exporter(samples(1000), "worker-2")]
    with over_zeromq(exporters, tmp_path) as (sensor, _):
        for exporter in exporters:
            assert exporter.done.wait(TIMEOUT_S)
            assert {verdict.seq for verdict in exporter.verdicts} == set(range(1, 1001))
        assert sensor.totals == Totals(judged=2000, shed=0, lost=0, in_flight=0)


def test_an_exporter_that_goes_makes_nothing_stale_for_others(tmp_path: Path) -> None:
    inbox = Inbox()
    with ZeroMQBus([], tmp_path) as bus, zmq.Context() as context:
        nodes = [context.socket(zmq.SUB) for _ in range(2)]
        for number, sock in enumerate(nodes):
            sock.subscribe(topics.verdicts_for(f"worker-{number}"))
            sock.connect(bus.xpub)
        transport = ZeroMQ(inbox, TOPICS, bus.xpub, bus.xsub)
        transport.start()
        heard: list[Incoming] = []
        wanted = {topics.verdicts_for(f"worker-{number}") for number in (0, 1)}
        wait_for(lambda: wanted <= topics_of(Subscribed, heard, inbox))
        nodes[0].close(0)
        wait_for(lambda: bool(topics_of(Unsubscribed, heard, inbox)))
        batch = VerdictBatch(tuple(next(judge([records_of(samples(1))]))[0]))
        both = [(topics.verdicts_for(f"worker-{n}"), batch) for n in (0, 1)]
        assert transport.publish(both, 0) == [False, True]
        assert transport.counts == {"stale": 1}
        assert nodes[1].poll(10_000)
        transport.close()
        nodes[1].close(0)


def test_only_verdicts_that_nobody_hears_count_as_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hellos and grants are repeated: at an exporter's start and end nobody has to hear them."""
    monkeypatch.setattr(outgoing, "_UNHEARD_S", 0.05)
    repeated = SensorHello("s1", np.zeros(1, np.uint64)), Grant("s1", "r", "zeek", 0, 0, 9)
    verdicts = VerdictBatch(tuple(next(judge([records_of(samples(1))]))[0]))
    said = [(topics.exporter("zeek"), event) for event in repeated]
    with ZeroMQBus([], tmp_path) as bus:
        transport = ZeroMQ(Inbox(), TOPICS, bus.xpub, bus.xsub)
        transport.start()
        assert transport.publish([*said, (topics.verdicts_for("zeek"), verdicts)], 0) == [True] * 3
        wait_for(lambda: transport.counts == {"unheard": 1})
        transport.close()
    assert transport.counts == {"unheard": 1}


def test_what_cannot_be_decoded_is_counted(tmp_path: Path) -> None:
    topic = topics.samples_of(0).encode()
    with over_zeromq([], tmp_path) as (sensor, bus):
        bus.send_raw(topic, b"node", FORMAT, b"\xff")
        bus.send_raw(topic, b"node", b"json", b"{}")
        bus.send_raw(topic, b"node")
        wait_for(lambda: sensor.dropped == {"undecodable": 1, "other_format": 2})


def test_curve_keys_are_needed_where_the_bus_has_them(tmp_path: Path) -> None:
    server, server_secret = zmq.curve_keypair()
    client, client_secret = zmq.curve_keypair()
    right = Curve(server.decode(), client.decode(), client_secret.decode())
    wrong = Curve(client.decode(), client.decode(), client_secret.decode())
    inbox, other = Inbox(), Inbox()
    with ZeroMQBus([], tmp_path, server_secret) as bus:
        with running(ZeroMQ(inbox, TOPICS, bus.xpub, bus.xsub, right), inbox) as sensor:
            send_with(right, bus.xsub, [TOPICS[0].encode(), b"node", FORMAT, b""])
            wait_for(lambda: sensor.dropped == {"undecodable": 1})
        with running(ZeroMQ(other, TOPICS, bus.xpub, bus.xsub, wrong), other) as sensor:
            wait_for(lambda: sensor.dropped.get("handshake_failed", 0) > 0)


def send_with(curve: Curve, endpoint: str, parts: list[bytes]) -> None:
    with zmq.Context() as context, context.socket(zmq.XPUB) as sock:
        sock.curve_serverkey = curve.server_publickey.encode()
        sock.curve_publickey = curve.client_publickey.encode()
        sock.curve_secretkey = curve.client_secretkey.encode()
        sock.connect(endpoint)
        assert sock.recv() == b"\x01" + parts[0]
        sock.send_multipart(parts)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make certificates with")
def test_certificates_are_checked_both_ways(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificate)
    server.load_cert_chain(certificate, key)
    server.verify_mode = ssl.CERT_REQUIRED
    exporter, inbox = Exporter(samples(10)), Inbox()
    with WebSocketBus([exporter], tls=server) as bus:
        for incomplete in (tls_context(), tls_context(ca=certificate)):
            stranger = Inbox()
            with running(WebSocket(stranger, TOPICS, bus.url, incomplete), stranger):
                time.sleep(0.3)
        assert bus.subscriptions == []
        transport = WebSocket(inbox, TOPICS, bus.url, tls_context(certificate, certificate, key))
        with running(transport, inbox) as sensor:
            assert_all_judged(exporter, sensor)


def test_a_zeek_without_a_bus_is_named(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def say_nothing(client: ServerConnection) -> None:
        while client.recv():
            pass

    monkeypatch.setattr("mtc_sensor.transports.websocket._TIMEOUT_S", 0.1)
    said = "outside a cluster it has to @load mtc-sensor/standalone"
    with serve(say_nothing, "127.0.0.1", 0) as s:
        threading.Thread(target=s.serve_forever).start()
        url = f"ws://127.0.0.1:{s.socket.getsockname()[1]}/v1/messages/json"
        inbox = Inbox()
        with running(WebSocket(inbox, TOPICS, url), inbox):
            wait_for(lambda: said in caplog.text)
        s.shutdown()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key)]
    subprocess.run([*command, "-out", str(certificate)], check=True, capture_output=True)
    return certificate, key


def test_what_was_never_started_leaves_no_sockets(tmp_path: Path) -> None:
    transport = ZeroMQ(Inbox(), TOPICS, f"ipc://{tmp_path}/1", f"ipc://{tmp_path}/2")
    transport.close()
    transport.close()
    assert transport._context.closed


def test_what_cannot_be_an_endpoint_is_refused() -> None:
    with pytest.raises(TransportError, match=r"tcp://nowhere: .*an endpoint is like"):
        ZeroMQ(Inbox(), TOPICS, "tcp://nowhere")
    with pytest.raises(TransportError, match="CURVE key"):
        ZeroMQ(Inbox(), TOPICS, curve=Curve("short", "short", "short"))
    with pytest.raises(TransportError, match="give one like ws://"):
        WebSocket(Inbox(), TOPICS, "http://127.0.0.1/")


@pytest.mark.parametrize("count", [0, 3])
def test_a_sensor_that_is_stopped_judges_what_is_on_the_way(tmp_path: Path, count: int) -> None:
    exporter = Exporter(samples(count))
    with over_zeromq([exporter], tmp_path) as (sensor, _):
        wait_for(lambda: sensor.totals.sampled == count)
    assert sensor.totals == Totals(judged=count, shed=0, lost=0, in_flight=0)
