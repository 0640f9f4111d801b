"""Native Broker, through the Python bindings that a Zeek installation brings.

The package of that name in package indexes is something else. The bindings are looked for where
``zeek-config --python_dir`` says; they belong to one version of Python.

Zeeks do not pass on to one peer what they hear from another, so in a cluster each worker is a peer
of ours. A node of a cluster says its name to who becomes its peer, with ``Cluster::hello`` (Zeek
``policy/frameworks/cluster/backend/broker/main.zeek``): what is lost with a connection is lost to
that node alone.
"""

from __future__ import annotations

import importlib
import logging
import select
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from mtc_sensor.errors import TransportError, WireError
from mtc_sensor.transports.base import (
    Backoff,
    Connected,
    Inbox,
    Subscribed,
    Transport,
    Unsubscribed,
)
from mtc_sensor.transports.broker_values import from_broker, to_broker
from mtc_sensor.wire import events, topics
from mtc_sensor.wire.envelope import ZeekEvent
from mtc_sensor.wire.events import MtcEvent, VerdictBatch
from mtc_sensor.wire.records import Records

_INSTEAD = (
    "use transport.kind: websocket (any Zeek from 8.0 on, see Cluster::listen_websocket) or zeromq"
)
_QUEUE = 1024
_RECEIVE_S = 0.1
_TO_US = "zeek/cluster/nodeid/{}/"
_HELLO = "Cluster::hello"


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


@dataclass(eq=False)
class _Link:
    """A Zeek process that is to be our peer."""

    address: str
    backoff: Backoff = field(default_factory=Backoff)
    connect_at: float | None = 0.0
    """When to try to connect; None while connected or connecting."""
    peer: str | None = None
    """Broker's name for it while it is our peer."""
    node: str | None = None
    """Its name in the cluster, once it has said that; it is kept when the connection is lost."""
    since: int = 0
    """What was decided before this generation is not for this connection."""

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.address.rpartition(":")
        return host.strip("[]"), int(port)


class Broker(Transport):
    """A peer of Zeek processes that listen for Broker.

    Parameters
    ----------
    inbox, topics
        As for `Transport`.
    peers
        The processes, each as ``host:port``: one, or several nodes of one cluster.

    Raises
    ------
    TransportError
        Without the bindings.
    """

    def __init__(
        self, inbox: Inbox, topics: Sequence[str], peers: Sequence[str] = ("127.0.0.1:9999",)
    ) -> None:
        super().__init__(inbox, topics)
        self._bindings = load_bindings()
        self._endpoint = self._bindings.Endpoint()
        self._to_us = _TO_US.format(self._endpoint.node_id())
        self._links = [_Link(address) for address in peers]
        self._nodes: dict[str, _Link] = {}
        self._names: dict[str, str] = {}
        """What peers have said that they are called, by Broker's name for them."""
        self._lock = threading.Lock()

    @property
    def connected(self) -> bool:
        """Whether there is a peer."""
        return any(link.peer is not None for link in self._links)

    @property
    def unreached(self) -> tuple[str, ...]:
        """Addresses at which there is no peer now."""
        return tuple(link.address for link in self._links if link.peer is None)

    def publish(self, messages: Sequence[tuple[str, MtcEvent]], generation: int) -> list[bool]:
        """Hand events to Broker, if whom they are for is a peer."""
        return [self._publish(topic, event, generation) for topic, event in messages]

    def _publish(self, topic: str, event: MtcEvent, generation: int) -> bool:
        message = to_broker(events.encode(event).to_value(), self._bindings)
        with self._lock:
            sent = self._reaches(topic, generation)
            if sent:
                self._endpoint.publish(topic, message)
        if not sent and isinstance(event, VerdictBatch):  # the rest is repeated
            self.counts["not_connected"] += 1
        return sent

    def _reaches(self, topic: str, generation: int) -> bool:
        """Return whether what was decided in a generation may go out to a topic."""
        link = self._nodes.get(topic.split("/")[-2])
        if link is not None:
            return link.peer is not None and generation >= link.since
        alone = self._links[0].since if len(self._links) == 1 else 0
        return self.connected and generation >= alone

    def close(self) -> None:
        """Disconnect and end; in the thread that made this, for Broker hangs in any other."""
        super().close()
        self._endpoint.shutdown()

    def _run(self) -> None:
        internal = self._bindings._broker
        # The bindings' own way to turn names into topics needs a Python before 3.10.
        wanted = internal.VectorTopic([internal.Topic(t) for t in (*self.topics, self._to_us)])
        subscriber = internal.Endpoint.make_subscriber(self._endpoint, wanted, _QUEUE)
        statuses = internal.Endpoint.make_status_subscriber(self._endpoint, True)
        while not self._closing.is_set():
            self._connect()
            # The bindings' own waiting would keep all other threads from running.
            select.select([subscriber.fd(), statuses.fd()], [], [], _RECEIVE_S)
            for status in statuses.poll():
                self._follow(status)
            self._receive(subscriber.poll())
            self._tell_nodes()
        subscriber.reset()
        statuses.reset()

    def _connect(self) -> None:
        for link in self._links:
            if link.connect_at is not None and time.monotonic() >= link.connect_at:
                link.connect_at = None
                self._endpoint.peer_nosync(*link.place, 0.0)  # 0: no attempts of its own

    def _follow(self, status: Any) -> None:
        """Take note of a peer that came, went, or was not there."""
        if not status.is_status():
            text = str(status.get_error())
            for link in self._links:
                if "*{}:{})".format(*link.place) in text:  # it says nowhere else which
                    self._say(logging.WARNING, f"broker {link.address}: {text}", link.address)
                    self._connect_again(link)
            return
        code, codes = status.get_status().code(), self._bindings.SC
        peer = status.get_status().context()
        for link in self._links:
            if code == codes.PeerAdded and link.place == _place(peer):
                self._added(link, peer.node_id())
            elif code in (codes.PeerLost, codes.PeerRemoved) and link.peer == peer.node_id():
                self._lost(link)

    def _added(self, link: _Link, peer: str) -> None:
        self._say(logging.INFO, f"broker {link.address}: connected", link.address)
        link.backoff.reset()
        with self._lock:
            link.peer = peer
            if len(self._links) > 1:
                return  # its name is going to come; the others need not begin again
            self._renew(link)
        self._inbox.tell(Connected(self.generation))

    def _lost(self, link: _Link) -> None:
        self._say(logging.WARNING, f"broker {link.address}: disconnected", link.address)
        with self._lock:
            self._names.pop(link.peer or "", None)
            link.peer = None
            self._renew(link)
        if link.node is not None:
            self._inbox.tell(Unsubscribed(topics.exporter(link.node), self.generation))
        self._connect_again(link)

    def _renew(self, link: _Link) -> None:
        self.generation += 1
        link.since = self.generation

    def _connect_again(self, link: _Link) -> None:
        if link.connect_at is None:
            link.connect_at = time.monotonic() + link.backoff.next()

    def _receive(self, messages: Sequence[tuple[Any, Any]]) -> None:
        """Take names in where there is more than one peer, and deliver the rest."""
        ours = [data for topic, data in messages if topic.string() == self._to_us]
        for data in ours if len(self._links) > 1 else []:
            try:
                self._take_name(ZeekEvent.from_value(from_broker(data)))
            except WireError:
                self.counts["nameless"] += 1
        self._deliver(
            self._decode, [data for topic, data in messages if topic.string() != self._to_us]
        )

    def _take_name(self, event: ZeekEvent) -> None:
        if event.name != _HELLO:
            return
        name, peer = [part if isinstance(part, bytes) else b"" for part in (*event.args, 0, 0)][:2]
        node = name.decode(errors="replace")
        if topics.exporter_of(topics.exporter(node)) != node:
            raise WireError(f"{node!r} is no node's name")
        self._names[peer.decode(errors="replace")] = node
        if len(self._names) > 2 * len(self._links):  # the name can come before the peer does
            del self._names[next(iter(self._names))]

    def _tell_nodes(self) -> None:
        """Tell of peers that have become known by name."""
        for link in self._links:
            node = self._names.pop(link.peer or "", None)
            if node is not None:
                with self._lock:
                    link.node = node
                    self._nodes = {each.node: each for each in self._links if each.node}
                    self._renew(link)
                self._inbox.tell(Subscribed(topics.exporter(node), self.generation))

    def _decode(self, data: Any) -> MtcEvent | Records:
        return events.decode(ZeekEvent.from_value(from_broker(data)))


def _place(peer: Any) -> tuple[str, int] | None:
    """Return the host and port that a peer was reached at."""
    if not peer.network.is_set():
        return None
    network = peer.network.get()
    return network.address, network.port
