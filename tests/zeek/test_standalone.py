"""A Zeek outside a cluster with the bus of `mtc-sensor/standalone`, as the README says."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mtc_sensor import zeek
from mtc_sensor.sensor import Sensor
from mtc_sensor.streams import Streams
from mtc_sensor.transports.base import Inbox, Transport
from mtc_sensor.transports.websocket import WebSocket
from mtc_sensor.transports.zeromq import ZeroMQ
from mtc_sensor.wire import topics

pytestmark = pytest.mark.zeek
TOPICS = (topics.samples_of(0), topics.statuses_of(0))
SCRIPT = """\
@load {scripts}
@load {scripts}/standalone.zeek
redef MTC::websocket_port = {websocket}/tcp;
redef Cluster::Backend::ZeroMQ::listen_xpub_endpoint = "tcp://127.0.0.1:{xpub}";
redef Cluster::Backend::ZeroMQ::listen_xsub_endpoint = "tcp://127.0.0.1:{xsub}";
redef Cluster::Backend::ZeroMQ::connect_xpub_endpoint = "tcp://127.0.0.1:{xsub}";
redef Cluster::Backend::ZeroMQ::connect_xsub_endpoint = "tcp://127.0.0.1:{xpub}";
redef exit_only_after_terminate = T;
redef MTC::status_interval = 0.5sec;
"""


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[dict[str, int]]:
    """A Zeek that waits for a sensor; its ports."""
    with standalone(tmp_path) as found:
        yield found


@contextmanager
def standalone(folder: Path, settings: str = "") -> Iterator[dict[str, int]]:
    """Run a Zeek with settings of its own; give its ports."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    numbers = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    ports = dict(zip(("websocket", "xpub", "xsub"), numbers, strict=True))
    script = SCRIPT.format(scripts=zeek.scripts(), **ports) + settings
    (folder / "local.zeek").write_text(script)
    process = subprocess.Popen(["zeek", "local.zeek"], cwd=folder)
    try:
        yield ports
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("kind", ["websocket", "zeromq"])
def test_a_sensor_finds_its_exporter(kind: str, ports: dict[str, int]) -> None:
    inbox = Inbox()
    streams = Streams("s1", [0])
    sensor = Sensor(streams, _transport(kind, inbox, ports), inbox, lambda samples, strain: [])
    end = time.monotonic() + 30
    sensor.run(lambda: streams.open > 0 or time.monotonic() > end)
    assert streams.open == 1


def _transport(kind: str, inbox: Inbox, ports: dict[str, int]) -> Transport:
    if kind == "websocket":
        url = f"ws://127.0.0.1:{ports['websocket']}/v1/messages/json"
        return WebSocket(inbox, TOPICS, url)
    xpub, xsub = (f"tcp://127.0.0.1:{ports[name]}" for name in ("xpub", "xsub"))
    return ZeroMQ(inbox, TOPICS, xpub, xsub)
