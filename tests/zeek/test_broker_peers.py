"""Several peers over native Broker: each comes, goes and is spoken to for itself."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from mtc_sensor.cli import run
from mtc_sensor.transports.base import Inbox, Incoming, Subscribed, Unsubscribed
from mtc_sensor.transports.broker import Broker, load_bindings
from mtc_sensor.transports.broker_values import from_broker, to_broker
from mtc_sensor.wire import events, topics
from mtc_sensor.wire.envelope import ZeekEvent
from mtc_sensor.wire.events import Grant, MtcEvent
from tests.zeek.beside import TIMEOUT_S, wait_for
from tests.zeek.test_faults_mutated import verdicts

pytestmark = pytest.mark.zeek


class Worker:
    """What a node of a cluster does at its end; a context manager, left before the sensor ends."""

    def __init__(self, name: str, port: int = 0) -> None:
        self.name = name
        self._bindings = load_bindings()
        internal = self._bindings._broker
        self._endpoint = self._bindings.Endpoint()
        own = (topics.TO_EXPORTERS, topics.exporter(name), topics.verdicts_for(name))
        wanted = internal.VectorTopic([internal.Topic(each) for each in own])
        self._subscriber = internal.Endpoint.make_subscriber(self._endpoint, wanted, 64)
        self.port: int = self._endpoint.listen("127.0.0.1", port)
        self.address = f"127.0.0.1:{self.port}"

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._subscriber.reset()
        self._endpoint.shutdown()

    def introduce(self, name: bytes | None = None) -> None:
        """Say its name to its peer, once that has come."""
        wait_for(self._endpoint.peers)
        (peer,) = [each.peer.node_id() for each in self._endpoint.peers()]
        said = ZeekEvent("Cluster::hello", (name or self.name.encode(), str(self).encode()))
        self.say(f"zeek/cluster/nodeid/{peer}/", said)

    def __str__(self) -> str:
        return str(self._endpoint.node_id())

    def say(self, topic: str, event: ZeekEvent) -> None:
        """Publish an event."""
        data = self._bindings.Data.from_py(to_broker(event.to_value(), self._bindings))
        self._endpoint.publish(topic, data)

    def hears(self, event: MtcEvent) -> None:
        """Wait for something; assert that it is this event."""
        wait_for(self._subscriber.available)
        said = [from_broker(data) for _, data in self._subscriber.poll()]
        assert [events.decode(ZeekEvent.from_value(each)) for each in said] == [event]

    @property
    def idle(self) -> bool:
        """Whether it has heard nothing more."""
        return not self._subscriber.available()


@contextmanager
def sensor(*addresses: str) -> Iterator[tuple[Broker, Inbox]]:
    """Run a transport with these peers; end it."""
    inbox = Inbox()
    transport = Broker(inbox, [topics.statuses_of(0)], addresses)
    transport.start()
    try:
        yield transport, inbox
    finally:
        transport.close()


def heard(inbox: Inbox, number: int) -> list[Incoming]:
    """Wait for so many notices and events."""
    wait_for(lambda: len(inbox) >= number)
    return inbox.get(0.0)


def grant(node: str) -> tuple[str, Grant]:
    return topics.exporter(node), Grant("s1", "run", node, 0, 3, 200)


def nobody() -> str:
    """Return an address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return f"127.0.0.1:{sock.getsockname()[1]}"


def serve(name: str, port: Connection) -> None:
    """Be a worker until this process is killed."""
    worker = Worker(name)
    port.send(worker.port)
    worker.introduce()
    threading.Event().wait()


@contextmanager
def killable(name: str) -> Iterator[tuple[BaseProcess, int]]:
    """Start a process that is a worker; give it and its port, and kill it in the end."""
    ours, theirs = (spawn := get_context("spawn")).Pipe()
    process = spawn.Process(target=serve, args=(name, theirs), daemon=True)
    process.start()
    try:
        assert ours.poll(TIMEOUT_S)
        yield process, ours.recv()
    finally:
        process.kill()
        process.join()


def test_one_that_goes_and_comes_again_disturbs_no_other() -> None:
    nowhere, one, two = nobody(), topics.exporter("worker-1"), topics.exporter("worker-2")
    with (
        Worker("worker-2") as second,
        killable("worker-1") as (first, port),
        sensor(nowhere, f"127.0.0.1:{port}", second.address) as (transport, inbox),
    ):
        assert heard(inbox, 1) == [Subscribed(one, 1)]
        second.introduce()
        assert heard(inbox, 1) == [Subscribed(two, 2)]
        assert transport.unreached == (nowhere,)
        assert transport.publish([grant("worker-1"), grant("worker-2")], 2) == [True, True]
        second.hears(grant("worker-2")[1])

        first.kill()
        assert heard(inbox, 1) == [Unsubscribed(one, 3)]
        lost = topics.verdicts_for("worker-1"), verdicts()
        assert transport.publish([lost, grant("worker-2")], 3) == [False, True]
        assert transport.counts == {"not_connected": 1}
        second.hears(grant("worker-2")[1])

        with Worker("worker-1", port) as again:
            again.introduce()
            assert heard(inbox, 1) == [Subscribed(one, 4)]
            # Decided when nobody knew of the loss.
            said = transport.publish([grant("worker-1"), grant("worker-2")], 2)
            assert said == [False, True]
            second.hears(grant("worker-2")[1])
            assert transport.publish([grant("worker-1")], 4) == [True]
            again.hears(grant("worker-1")[1])
            assert again.idle
            assert second.idle


def test_a_name_that_is_none_is_counted() -> None:
    with Worker("worker-1") as worker, sensor(worker.address, nobody()) as (transport, inbox):
        worker.introduce(b"a/b")
        worker.introduce()
        assert heard(inbox, 1) == [Subscribed(topics.exporter("worker-1"), 1)]
        assert transport.counts == {"nameless": 1}


def test_doctor_names_the_peer_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = nobody()
    with Worker("zeek") as worker:
        way = {"kind": "broker", "broker": {"peers": [worker.address, nowhere]}}
        config = tmp_path / "sensor.yaml"
        config.write_text(json.dumps({"transport": way, "models": ["byte-cnn"]}))
        thread = threading.Thread(target=worker.introduce)
        thread.start()
        assert run(["doctor", "--json", "--config", str(config), "--wait", "1"]) == 1
        thread.join()
    found = {each["check"]: each["detail"] for each in json.loads(capsys.readouterr().out)}
    assert found["bus"].startswith(f"transport.broker: nothing answers at {nowhere}: does a Zeek")
    assert found["exporters of shard 0"].startswith("none has answered for 1 s")
