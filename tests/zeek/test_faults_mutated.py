"""Ten thousand mutated messages at a running sensor, and at a real Zeek."""

from __future__ import annotations

import random
from collections.abc import Iterable
from ipaddress import IPv4Address
from pathlib import Path

import numpy as np
import pytest
import zmq

from mtc_sensor.config import TransportConfig, ZeroMQConfig
from mtc_sensor.errors import WireError
from mtc_sensor.flow import Kind
from mtc_sensor.transports.zeromq import FORMAT
from mtc_sensor.wire import broker_bin, events, topics
from mtc_sensor.wire.events import Grant, MtcEvent, Resend, SensorHello, Verdict
from mtc_sensor.wire.values import Port, Proto
from tests.integration.exporter import ZeroMQBus
from tests.unit.wire.test_fuzz import mutate
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


def send(endpoint: str, topic: str, messages: Iterable[bytes]) -> None:
    """Publish messages on the cluster's bus, once somebody listens."""
    with zmq.Context() as context, context.socket(zmq.XPUB) as sock:
        sock.setsockopt(zmq.XPUB_NODROP, 1)
        sock.connect(endpoint)
        while sock.recv() != b"\1" + topic.encode():
            pass
        for data in messages:
            sock.send_multipart([topic.encode(), b"peer", FORMAT, data])


def is_refused(data: bytes) -> bool:
    try:
        events.decode(broker_bin.decode_event(data))
    except WireError:
        return True
    return False


def test_a_running_sensor_counts_what_it_cannot_decode(tmp_path: Path) -> None:
    recorded = sorted((ROOT / "tests" / "data" / "wire").glob("MTC-*.bin"))
    messages = mutated([path.read_bytes() for path in recorded])
    with ZeroMQBus([], tmp_path) as bus:
        config = TransportConfig(zeromq=ZeroMQConfig(xpub=bus.xpub, xsub=bus.xsub))
        with running(lambda: make_sensor(config)) as sensor:
            refused = 0
            for begin in range(0, MESSAGES, CHUNK):  # the proxy drops what finds no room
                chunk = messages[begin : begin + CHUNK]
                refused += sum(map(is_refused, chunk))
                send(bus.xsub, topics.TO_SENSORS, chunk)
                wait_for(lambda: sensor.dropped.get("undecodable") == refused)  # noqa: B023
            assert "inbox_full" not in sensor.dropped
    assert MESSAGES // 2 < refused < MESSAGES


def verdict() -> Verdict:
    ends = (
        IPv4Address("10.0.0.1"),
        Port(1, Proto.TCP),
        IPv4Address("10.0.0.2"),
        Port(2, Proto.TCP),
    )
    place = ("peer", "run", "zeek", 0, 1, "Cuid")
    return Verdict(*place, *ends, 0, int(Kind.EARLY), "model", "benign", 0.5, 0, "")


@pytest.mark.zeek
def test_zeek_passes_over_what_makes_no_sense(tmp_path: Path) -> None:
    sent: list[MtcEvent] = [
        verdict(),
        Grant("peer", "run", "zeek", 0, 0, 10),
        Resend("peer", "run", "zeek", 0, 1, 10),
        SensorHello("peer", np.array([0], np.uint64)),
    ]
    messages = mutated([broker_bin.encode_event(events.encode(event)) for event in sent])
    config, script = meet("zeromq", tmp_path)
    with Zeek(tmp_path / "zeek", DEMO, script) as zeek:
        send(config.zeromq.xsub, topics.TO_EXPORTERS, messages)
        with running(lambda: make_sensor(config)) as sensor:
            assert_exact(zeek, sensor)
    assert zeek.counters["refused"] > MESSAGES // 100
