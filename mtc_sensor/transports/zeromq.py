"""Zeek's ZeroMQ cluster backend: SUB to its proxy's XPUB, XPUB to its XSUB.

A message has four parts: topic, sender, format and payload (Zeek
``cluster/backend/zeromq/ZeroMQ.cc``). A PUB socket drops what nobody is known to want; the XPUB
socket sees subscriptions, and what has no subscriber yet is held for a moment. libzmq reconnects
by itself, with backoff, and then subscribes anew; its intervals are fixed, so each transport draws
its own.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import compress

import zmq
from zmq.utils.monitor import recv_monitor_message

from mtc_sensor.errors import TransportError
from mtc_sensor.transports.base import (
    MAX_MESSAGE,
    Inbox,
    Subscribed,
    Transport,
    Unsubscribed,
    logger,
)
from mtc_sensor.transports.outgoing import Outgoing, node_of, outgoing
from mtc_sensor.wire import binary_events
from mtc_sensor.wire.events import MtcEvent

FORMAT = b"broker-bin-v1"
_PARTS = 4
_MOST_AT_ONCE = 100
"""Messages that are received before subscriptions and our own events get their turn."""
_OUTBOX = 2048
_OUTBOX_WAIT_S = 5.0
_AT_ONCE = int(zmq.NOBLOCK)
"""A plain number: to combine enums takes longer than to send."""
_MORE_FOLLOWS = int(zmq.NOBLOCK | zmq.SNDMORE)
_LINGER_MS = 1000
_RETRY_MS = 5
_IDLE_MS = 500
_MOST_NODES = 1024
_HANDSHAKE_FAILED = (
    zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
    | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
    | zmq.Event.HANDSHAKE_FAILED_AUTH
)
_TOLD: dict[int, tuple[int, str]] = {
    zmq.Event.HANDSHAKE_SUCCEEDED: (logging.INFO, "connected"),
    zmq.Event.DISCONNECTED: (logging.WARNING, "disconnected"),
    zmq.Event.CONNECT_RETRIED: (logging.WARNING, "no connection, trying again"),
}
"""What is logged of the socket that receives."""


@dataclass(frozen=True)
class Curve:
    """Keys for CURVE, each 40 characters of Z85, as Zeek has them."""

    server_publickey: str
    client_publickey: str
    client_secretkey: str


class ZeroMQ(Transport):
    """A peer of the cluster's proxy.

    Parameters
    ----------
    inbox, topics
        As for `Transport`.
    xpub, xsub
        Endpoints of the proxy's sockets: the one that sends, and the one that receives.
    curve
        Keys, where the cluster uses CURVE.

    Raises
    ------
    TransportError
        For an endpoint or a key that libzmq refuses.
    """

    def __init__(
        self,
        inbox: Inbox,
        topics: Sequence[str],
        xpub: str = "tcp://127.0.0.1:5555",
        xsub: str = "tcp://127.0.0.1:5556",
        curve: Curve | None = None,
    ) -> None:
        super().__init__(inbox, topics)
        self._sender = f"mtc-sensor_{socket.gethostname()}_{os.getpid()}".encode()
        self._heard: set[bytes] = set()
        self._lost: dict[bytes, int] = {}
        self._lost_before = 0
        self._outbox: deque[Outgoing] = deque()
        self._room = threading.Condition()
        self._context = zmq.Context()
        self._endpoint = xpub
        self._sub = self._context.socket(zmq.SUB)
        self._monitor = self._sub.get_monitor_socket(sum(_TOLD) | _HANDSHAKE_FAILED)
        self._connect(self._sub, xpub, curve)
        self._xpub = self._context.socket(zmq.XPUB)
        self._xpub.setsockopt(zmq.XPUB_NODROP, 1)
        # With it a lost connection takes its subscriptions along, and we see that.
        self._xpub.setsockopt(zmq.IMMEDIATE, 1)
        self._connect(self._xpub, xsub, curve)
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)

    @property
    def connected(self) -> bool:
        """Whether the proxy passes subscriptions on to us, our own among them."""
        return bool(self._heard)

    def publish(self, messages: Sequence[tuple[str, MtcEvent]], generation: int) -> list[bool]:
        """Queue events for the thread that has the sockets; wait while the queue is full.

        Events that are published together go into a queue that has room for one.
        """
        items = [outgoing(topic, event, time.monotonic()) for topic, event in messages]
        with self._room:
            if not self._room.wait_for(lambda: len(self._outbox) < _OUTBOX, _OUTBOX_WAIT_S):
                self._drop("outbox_full", items)
                return [False] * len(items)
            sent = [not self._stale(item.topic, generation) for item in items]
            self._outbox.extend(compress(items, sent))
        self._wake_up()
        self._drop("stale", [item for item, was in zip(items, sent, strict=True) if not was])
        return sent

    def _drop(self, reason: str, items: Sequence[Outgoing]) -> None:
        """Count what is lost: what is going to be repeated is not."""
        self.counts.update(reason for item in items if item.until is not None)

    def _stale(self, topic: bytes, generation: int) -> bool:
        return generation < self._lost.get(node_of(topic), self._lost_before)

    def close(self) -> None:
        """Send what waits, disconnect and end."""
        self._closing.set()
        self._wake_up()
        super().close()
        if self._thread.ident is None:  # a context with sockets would wait for them forever
            self._release(linger=0)

    def _connect(self, sock: zmq.Socket[bytes], endpoint: str, curve: Curve | None) -> None:
        sock.setsockopt(zmq.LINGER, _LINGER_MS)
        sock.setsockopt(zmq.RECONNECT_IVL, random.randint(50, 100))  # noqa: S311 - no secret
        sock.setsockopt(zmq.RECONNECT_IVL_MAX, random.randint(2500, 5000))  # noqa: S311
        sock.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE)
        sock.setsockopt(zmq.IPV6, 1)
        try:
            if curve is not None:
                sock.setsockopt_string(zmq.CURVE_SERVERKEY, curve.server_publickey)
                sock.setsockopt_string(zmq.CURVE_PUBLICKEY, curve.client_publickey)
                sock.setsockopt_string(zmq.CURVE_SECRETKEY, curve.client_secretkey)
            sock.connect(endpoint)
        except zmq.ZMQError as fault:
            self._context.destroy(linger=0)
            raise TransportError(
                f"transport.zeromq: {endpoint}: {fault.strerror}: an endpoint is like "
                "tcp://127.0.0.1:5555, a CURVE key has 40 characters of Z85"
            ) from fault

    def _wake_up(self) -> None:
        with suppress(OSError):  # full: it is going to wake up anyway; closed: it has ended
            self._wake.send(b"\0")

    def _run(self) -> None:
        for topic in self.topics:
            self._sub.setsockopt_string(zmq.SUBSCRIBE, topic)
        poller = zmq.Poller()
        for source in (self._sub, self._xpub, self._woken, self._monitor):
            poller.register(source, zmq.POLLIN)
        wait = _IDLE_MS
        while not self._closing.is_set():
            ready = dict(poller.poll(wait))
            if self._monitor in ready:
                self._tell(recv_monitor_message(self._monitor)["event"])
            if self._woken.fileno() in ready:
                self._woken.recv(4096)
            self._receive_subscriptions()
            self._receive()
            wait = _IDLE_MS if self._send() else _RETRY_MS
        self._end()

    def _end(self) -> None:
        """Close the sockets, once libzmq has taken what waits or a second has passed."""
        end = time.monotonic() + _LINGER_MS / 1000
        while not self._send() and time.monotonic() < end:
            time.sleep(_RETRY_MS / 1000)
        self._sub.disable_monitor()
        self._release()

    def _release(self, linger: int | None = None) -> None:
        self._context.destroy(linger)
        self._wake.close()
        self._woken.close()

    def _tell(self, event: int) -> None:
        if event in _TOLD:
            level, what = _TOLD[event]
            self._say(level, f"zeromq {self._endpoint}: {what}")
            return
        self.counts["handshake_failed"] += 1
        logger.error(
            "zeromq: handshake failed (event %#x): check the keys of transport.zeromq.curve", event
        )

    def _receive(self) -> None:
        if payloads := list(self._payloads()):
            self._deliver(binary_events.decode, payloads)

    def _payloads(self) -> Iterator[bytes]:
        for _ in range(_MOST_AT_ONCE):
            try:
                parts = self._sub.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            if len(parts) == _PARTS and parts[2] == FORMAT:
                yield parts[3]
            else:
                self.counts["other_format"] += 1

    def _receive_subscriptions(self) -> None:
        while True:
            try:
                (message, *_) = self._xpub.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            topic = message[1:]
            if message[:1] == b"\x01":
                self._heard.add(topic)
                self._inbox.tell(Subscribed(topic.decode(errors="replace"), self.generation))
            elif message[:1] == b"\x00":
                self._heard.discard(topic)
                self._lose(topic)

    def _lose(self, topic: bytes) -> None:
        """Begin a new generation: what was sent to the topic's node a moment ago may be gone.

        What is on the way to other nodes is not: a worker that ends is no worry of theirs.
        """
        with self._room:
            self.generation += 1
            if len(self._lost) >= _MOST_NODES:
                self._lost.clear()
                self._lost_before = self.generation
            self._lost[node_of(topic)] = self.generation
            self._outbox = deque(item for item in self._outbox if item.topic != topic)
            self._room.notify_all()
        self._inbox.tell(Unsubscribed(topic.decode(errors="replace"), self.generation))

    def _send(self) -> bool:
        """Send what has a subscriber; return whether the bus took all of that."""
        with self._room:
            waiting, self._outbox = self._outbox, deque()
            self._room.notify_all()
        heard = {topic: self._is_heard(topic) for topic in {item.topic for item in waiting}}
        kept: deque[Outgoing] = deque()
        blocked, now = False, time.monotonic()
        for item in waiting:
            if not heard[item.topic]:
                self._hold(item, now, kept)
            elif blocked or not self._try(item):
                blocked = True
                kept.append(item)
        with self._room:
            self._outbox.extendleft(reversed(kept))
        return not blocked

    def _is_heard(self, topic: bytes) -> bool:
        return any(map(topic.startswith, self._heard))

    def _hold(self, item: Outgoing, now: float, kept: deque[Outgoing]) -> None:
        if item.until is not None and now < item.until:
            kept.append(item)
        else:
            self._drop("unheard", [item])

    def _try(self, item: Outgoing) -> bool:
        try:
            for part in (item.topic, self._sender, FORMAT):
                self._xpub.send(part, _MORE_FOLLOWS)
            self._xpub.send(item.payload, _AT_ONCE)
        except zmq.Again:
            return False
        return True
