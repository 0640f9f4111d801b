"""Zeek's WebSocket API, which fronts any cluster backend: JSON v1 over ws:// or wss://.

Zeek disconnects whoever misses a ping for 5 s, or reads too slowly; then this connects again, with
backoff and jitter, and subscribes anew.
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from websockets.exceptions import InvalidURI, WebSocketException
from websockets.sync.client import ClientConnection, connect
from websockets.uri import parse_uri

from mtc_sensor.errors import TransportError, WireError
from mtc_sensor.transports.base import MAX_MESSAGE, Backoff, Connected, Inbox, Transport, logger
from mtc_sensor.wire import events, websocket_api
from mtc_sensor.wire.envelope import ZeekEvent
from mtc_sensor.wire.events import MtcEvent, VerdictBatch
from mtc_sensor.wire.records import Records
from mtc_sensor.wire.websocket_api import Ack, DataMessage, ErrorMessage

APPLICATION = "mtc-sensor"
_TIMEOUT_S = 5.0
_RECEIVE_S = 0.5
_CLOSE_S = 1.0


class WebSocket(Transport):
    """A client of a Zeek process that listens for WebSockets.

    Parameters
    ----------
    inbox, topics
        As for `Transport`.
    url
        Such as ``ws://127.0.0.1:27759/v1/messages/json``.
    tls
        What wss:// needs, see `tls_context`; None for the system's own.

    Raises
    ------
    TransportError
        For a URL that is none.
    """

    def __init__(
        self, inbox: Inbox, topics: Sequence[str], url: str, tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(inbox, topics)
        try:
            parse_uri(url)
        except InvalidURI as fault:
            raise TransportError(
                f"transport.websocket.url: {fault}: give one like "
                "ws://127.0.0.1:27759/v1/messages/json"
            ) from fault
        self._url = url
        self._tls = tls
        self._lock = threading.Lock()
        self._connection: ClientConnection | None = None

    @property
    def connected(self) -> bool:
        """Whether Zeek has acknowledged the subscriptions of this connection."""
        return self._connection is not None

    def publish(self, messages: Sequence[tuple[str, MtcEvent]], generation: int) -> list[bool]:
        """Send events, if connected; Zeek's backpressure makes it wait."""
        return [self._publish(topic, event, generation) for topic, event in messages]

    def _publish(self, topic: str, event: MtcEvent, generation: int) -> bool:
        text = websocket_api.encode(DataMessage(topic, events.encode(event).to_value()))
        with self._lock:
            connection = self._connection if generation == self.generation else None
        if connection is not None:
            with suppress(WebSocketException, OSError):
                connection.send(text)
                return True
        if isinstance(event, VerdictBatch):  # the rest is repeated
            self.counts["not_connected"] += 1
        return False

    def _run(self) -> None:
        backoff = Backoff()
        while not self._closing.is_set():
            try:
                with self._connect() as connection:
                    self._subscribe(connection)
                    backoff.reset()
                    self._receive(connection)
            except (WebSocketException, OSError, WireError) as fault:
                self._say(logging.WARNING, f"websocket {self._url}: {fault}")
            finally:
                with self._lock:
                    self._connection = None
            self._closing.wait(backoff.next())

    def _connect(self) -> ClientConnection:
        return connect(
            self._url,
            ssl=self._tls,
            additional_headers={"X-Application-Name": APPLICATION},
            compression=None,
            proxy=None,
            open_timeout=_TIMEOUT_S,
            ping_interval=_TIMEOUT_S,
            ping_timeout=_TIMEOUT_S,
            close_timeout=_CLOSE_S,
            max_size=MAX_MESSAGE,
        )

    def _subscribe(self, connection: ClientConnection) -> None:
        """Say which topics are wanted and wait until Zeek delivers them."""
        connection.send(websocket_api.encode_subscriptions(self.topics))
        try:
            answer = websocket_api.decode(_text(connection.recv(_TIMEOUT_S)))
        except TimeoutError as fault:
            raise WireError(
                "Zeek does not acknowledge the subscriptions: outside a cluster it has to "
                "@load mtc-sensor/standalone, or another cluster backend"
            ) from fault
        if not isinstance(answer, Ack):
            raise WireError(f"no acknowledgement of the subscriptions, but {answer}")
        self._say(logging.INFO, f"websocket {self._url}: connected to {answer.endpoint}")
        with self._lock:
            self._connection = connection
            self.generation += 1
        self._inbox.tell(Connected(self.generation))

    def _receive(self, connection: ClientConnection) -> None:
        while not self._closing.is_set():
            with suppress(TimeoutError):
                self._deliver(self._decode, [connection.recv(_RECEIVE_S)])

    def _decode(self, frame: str | bytes) -> MtcEvent | Records:
        message = websocket_api.decode(_text(frame))
        if isinstance(message, ErrorMessage):
            logger.error("websocket %s: Zeek says %s", self._url, message)
        if not isinstance(message, DataMessage):
            raise WireError(f"no event, but {type(message).__name__}")
        return events.decode(ZeekEvent.from_value(message.value))


def tls_context(
    ca: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """Return what wss:// needs: whose certificates to believe, and our own.

    Raises TransportError, naming the file, for one that cannot be used.
    """
    context = ssl.create_default_context()
    try:
        if ca is not None:
            context = ssl.create_default_context(cafile=ca)
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except OSError as fault:  # ssl.SSLError is one
        files = ", ".join(str(path) for path in (ca, certificate, key) if path is not None)
        raise TransportError(
            f"transport.websocket: {files}: {fault.strerror or fault}: PEM files that can be read "
            "are wanted"
        ) from fault
    return context


def _text(frame: str | bytes) -> str:
    if isinstance(frame, bytes):
        raise WireError("a binary frame where text was expected")
    return frame
