"""Native Broker, through the Python bindings that a Zeek installation brings.

The package of that name in package indexes is something else. The bindings are looked for where
``zeek-config --python_dir`` says; they belong to one version of Python.
"""

from __future__ import annotations

import importlib
import logging
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from types import ModuleType
from typing import Any

import numpy as np

from mtc_sensor.errors import TransportError, WireError
from mtc_sensor.transports.base import Backoff, Connected, Inbox, Transport
from mtc_sensor.wire import events
from mtc_sensor.wire.envelope import ZeekEvent
from mtc_sensor.wire.events import MtcEvent, VerdictBatch
from mtc_sensor.wire.values import (
    Port,
    Proto,
    Timestamp,
    Value,
    check_depth,
    vector_items,
)

_INSTEAD = (
    "use transport.kind: websocket (any Zeek from 8.0 on, see Cluster::listen_websocket) or zeromq"
)
_QUEUE = 1024
_RECEIVE_S = 0.1


def load_bindings() -> ModuleType:
    """Import Zeek's `broker` module.

    Raises TransportError, naming the other transports, if there is none for this Python.
    """
    try:
        found = subprocess.run(
            ["zeek-config", "--python_dir"],  # noqa: S607 - the PATH says which Zeek
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError) as fault:
        raise TransportError(
            f"transport.broker: zeek-config --python_dir: {fault}: put Zeek's bin folder on the "
            f"PATH, or {_INSTEAD}"
        ) from fault
    folder = found.stdout.strip()
    sys.path.insert(0, folder)
    try:
        module = importlib.import_module("broker")
        if not hasattr(module, "Endpoint"):
            raise ImportError(f"{module.__file__} is not Zeek's")
    except ImportError as fault:
        sys.modules.pop("broker", None)
        raise TransportError(
            f"transport.broker: {folder}: no Broker bindings for this Python ({fault}): {_INSTEAD}"
        ) from fault
    finally:
        sys.path.remove(folder)
    return module


class Broker(Transport):
    """A peer of a Zeek process that listens for Broker.

    Parameters
    ----------
    inbox, topics
        As for `Transport`.
    host, port
        Of the Zeek process.

    Raises
    ------
    TransportError
        Without the bindings.
    """

    def __init__(
        self, inbox: Inbox, topics: Sequence[str], host: str = "127.0.0.1", port: int = 9999
    ) -> None:
        super().__init__(inbox, topics)
        self._bindings = load_bindings()
        self._host, self._port = host, port
        self._endpoint = self._bindings.Endpoint()
        self._peered = threading.Event()
        self._backoff = Backoff()
        self._connect_at: float | None = 0.0
        """When to try to connect; None while connected or connecting."""

    @property
    def connected(self) -> bool:
        """Whether there is a peer."""
        return self._peered.is_set()

    def publish(self, messages: Sequence[tuple[str, MtcEvent]], generation: int) -> list[bool]:
        """Hand events to Broker, if there is a peer."""
        return [self._publish(topic, event, generation) for topic, event in messages]

    def _publish(self, topic: str, event: MtcEvent, generation: int) -> bool:
        if not self._peered.is_set() or generation != self.generation:
            if isinstance(event, VerdictBatch):  # the rest is repeated
                self.counts["not_connected"] += 1
            return False
        message = events.encode(event).to_value()
        self._endpoint.publish(topic, to_broker(message, self._bindings))
        return True

    def close(self) -> None:
        """Disconnect and end; in the thread that made this, for Broker hangs in any other."""
        super().close()
        self._endpoint.shutdown()

    def _run(self) -> None:
        internal = self._bindings._broker
        # The bindings' own way to turn names into topics needs a Python before 3.10.
        topics = internal.VectorTopic([internal.Topic(name) for name in self.topics])
        subscriber = internal.Endpoint.make_subscriber(self._endpoint, topics, _QUEUE)
        statuses = internal.Endpoint.make_status_subscriber(self._endpoint, True)
        while not self._closing.is_set():
            if self._connect_at is not None and time.monotonic() >= self._connect_at:
                self._connect_at = None
                self._endpoint.peer_nosync(self._host, self._port, 0.0)  # 0: no attempts of its own
            # The bindings' own waiting would keep all other threads from running.
            select.select([subscriber.fd(), statuses.fd()], [], [], _RECEIVE_S)
            for status in statuses.poll():
                self._follow(status)
            self._deliver(self._decode, [data for _, data in subscriber.poll()])
        subscriber.reset()
        statuses.reset()

    def _follow(self, status: Any) -> None:
        """Take note of a peer that came, went, or was not there."""
        if not status.is_status():
            self._say(logging.WARNING, f"broker {self._host}:{self._port}: {status.get_error()}")
            self._connect_again()
            return
        code, codes = status.get_status().code(), self._bindings.SC
        if code == codes.PeerAdded:
            self._say(logging.INFO, f"broker {self._host}:{self._port}: connected")
            self._backoff.reset()
            self.generation += 1
            self._peered.set()
            self._notify(Connected(self.generation))
        elif code in (codes.PeerLost, codes.PeerRemoved):
            self._say(logging.WARNING, f"broker {self._host}:{self._port}: disconnected")
            self._peered.clear()
            self._connect_again()

    def _connect_again(self) -> None:
        if self._connect_at is None:
            self._connect_at = time.monotonic() + self._backoff.next()

    def _decode(self, data: Any) -> MtcEvent:
        return events.decode(ZeekEvent.from_value(from_broker(data)))


def to_broker(value: Value, bindings: ModuleType) -> Any:
    """Turn what the MTC events hold into what the bindings take. Raises WireError."""
    items = vector_items(value)
    if items is not None:
        return [to_broker(item, bindings) for item in items]
    if isinstance(value, Port):
        return bindings.Port(value.number, bindings.Port.Protocol(int(value.proto)))
    if type(value) is int:
        return bindings.Count(value)
    if isinstance(value, float | bytes | IPv4Address | IPv6Address):
        return value
    raise WireError(f"a {type(value).__name__} has no place in an MTC event")


def from_broker(data: Any, depth: int = 0) -> Value:
    """Turn the bindings' data into values. Raises WireError for what no MTC event holds."""
    check_depth(depth)
    kind = data.get_type().name
    if kind == "Vector":
        items = tuple([from_broker(item, depth + 1) for item in data.as_vector()])
        if items and all(type(item) is int for item in items):
            return np.array(items, np.uint64)
        return items
    reader = _READERS.get(kind)
    if reader is None:
        raise WireError(f"a {kind} has no place in an MTC event")
    return reader(data)


def _address(data: Any) -> Value:
    address = data.as_address()
    raw = address.bytes()
    return IPv4Address(raw[-4:]) if address.is_v4() else IPv6Address(raw)


def _port(data: Any) -> Value:
    port = data.as_port()
    return Port(port.number(), Proto(int(port.get_type())))


_READERS: dict[str, Callable[[Any], Value]] = {
    "Count": lambda data: int(data.as_count()),
    "Real": lambda data: float(data.as_real()),
    "String": lambda data: bytes(data.as_string()),
    "Timestamp": lambda data: Timestamp(round(data.as_timestamp() * 1e9)),
    "Address": _address,
    "Port": _port,
}
