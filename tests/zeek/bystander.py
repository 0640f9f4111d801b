"""Others on Zeek's bus: what they send to themselves, and how long that takes."""

from __future__ import annotations

import select
import threading
import time
from abc import ABC, abstractmethod
from pathlib import Path

import zmq

from mtc_sensor.transports.broker import load_bindings
from mtc_sensor.transports.broker_values import to_broker
from mtc_sensor.wire.envelope import ZeekEvent
from tests.zeek.beside import wait_for

EVERY_S = 0.01
ANSWERS = """\
module Bystander;

export {
	global ping: event();
	global pong: event();
}

event zeek_init()
	{
	Cluster::subscribe("/bystander/ping/");
	}

event ping()
	{
	Cluster::publish("/bystander/pong/", pong);
	}
"""
"""A script for Zeek: over native Broker, where peers do not hear each other, it has to answer."""


class Bystander(ABC):
    """Sends events and measures how long they take; a context manager, left before Zeek ends."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Bystander:
        self._thread.start()
        wait_for(lambda: self.delays)
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    @abstractmethod
    def _run(self) -> None: ...


class OnProxy(Bystander):
    """A peer of the cluster's ZeroMQ proxy, whose sockets are in a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._xpub, self._xsub = f"ipc://{folder}/xpub", f"ipc://{folder}/xsub"

    def _run(self) -> None:
        with (
            zmq.Context() as context,
            context.socket(zmq.SUB) as sub,
            context.socket(zmq.XPUB) as pub,
        ):
            sub.connect(self._xpub)
            sub.subscribe("bystander")
            pub.connect(self._xsub)
            while pub.recv() != b"\1bystander":
                pass
            while not self._ends.wait(EVERY_S):
                sent = time.monotonic()
                pub.send_multipart([b"bystander", b"me", b"none", b""])
                sub.poll(10_000)
                sub.recv_multipart(zmq.NOBLOCK)
                self.delays.append(time.monotonic() - sent)


class OnBroker(Bystander):
    """A peer of a Zeek process that has the script `ANSWERS` and listens on a port."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._host, _, self._port = address.partition(":")

    def _run(self) -> None:
        bindings = load_bindings()
        internal = bindings._broker
        endpoint = bindings.Endpoint()  # which must be shut down by the thread that made it
        topics = internal.VectorTopic([internal.Topic("/bystander/pong/")])
        subscriber = internal.Endpoint.make_subscriber(endpoint, topics, 16)
        ping = to_broker(ZeekEvent("Bystander::ping", ()).to_value(), bindings)
        endpoint.peer_nosync(self._host, int(self._port), 1.0)
        while not self._ends.wait(EVERY_S):
            sent = time.monotonic()
            endpoint.publish("/bystander/ping/", ping)
            if select.select([subscriber.fd()], [], [], 10 if self.delays else 0.1)[0]:
                subscriber.poll()
                self.delays.append(time.monotonic() - sent)
        subscriber.reset()
        endpoint.shutdown()
