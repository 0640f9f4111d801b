"""An exporter as Zeek's scripts are one, and a bus of each kind, without Zeek.

What goes over the bus is what Zeek sends and takes: it comes from the same declarations, whose
bytes are compared with recorded ones elsewhere.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import zmq
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from mtc_sensor.transports.zeromq import FORMAT
from mtc_sensor.wire import broker_bin, events, topics, websocket_api
from mtc_sensor.wire.envelope import ZeekEvent
from mtc_sensor.wire.events import (
    ExporterDrained,
    ExporterStatus,
    Grant,
    MtcEvent,
    Resend,
    SensorHello,
    Verdict,
    VerdictBatch,
)
from mtc_sensor.wire.records import Records
from mtc_sensor.wire.sample import Sample, batch_of
from mtc_sensor.wire.websocket_api import Ack, DataMessage

Published = Iterable[tuple[str, MtcEvent]]


class Exporter:
    """A replaying exporter: keeps what has no ack, resends it after a hello, ends when drained.

    `lose` are numbers whose first publication goes astray.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        node: str = "zeek",
        lose: Iterable[int] = (),
        shard: int = 0,
    ) -> None:
        self.run, self.node, self.shard = "run-1", node, shard
        self.samples = [
            replace(sample, run=self.run, node=node, shard=shard, seq=seq)
            for seq, sample in enumerate(samples, 1)
        ]
        self.acked = self.published = self.most_ahead = 0
        self.verdicts: list[Verdict] = []
        self.done = threading.Event()
        self._lose = set(lose)
        self._lock = threading.Lock()

    @property
    def topics(self) -> list[str]:
        return [
            topics.verdicts_for(self.node), topics.TO_EXPORTERS, topics.exporter(self.node),
        ]  # fmt: skip

    def take(self, event: MtcEvent | Records) -> list[tuple[str, MtcEvent]]:
        """Return what to publish in answer to an event."""
        with self._lock:
            if isinstance(event, SensorHello):
                return [*self._status(), *self._samples(self.acked + 1, self.published)]
            if isinstance(event, Grant) and (event.run, event.node) == (self.run, self.node):
                return list(self._granted(event))
            if isinstance(event, Resend) and event.node == self.node:
                return list(self._samples(event.first, event.last))
            if isinstance(event, VerdictBatch):
                self.verdicts += event.verdicts
            return []

    def _status(self) -> Published:
        status = ExporterStatus(self.run, self.node, self.shard, self.acked + 1, self.published, 0)
        yield topics.statuses_of(self.shard), status

    def _granted(self, grant: Grant) -> Published:
        self.acked = max(self.acked, grant.acked)
        first = self.published + 1
        self.published = max(self.published, min(grant.acked + grant.window, len(self.samples)))
        self.most_ahead = max(self.most_ahead, self.published - self.acked)
        yield from self._samples(first, self.published)
        if self.acked == len(self.samples):
            self.done.set()
        elif self.published == len(self.samples):
            drained = ExporterDrained(self.run, self.node, self.shard, self.published)
            yield topics.statuses_of(self.shard), drained

    def _samples(self, first: int, last: int) -> Published:
        for sample in self.samples[first - 1 : last]:
            if sample.seq in self._lose:
                self._lose.discard(sample.seq)
            else:
                yield topics.samples_of(self.shard), batch_of([sample])


class Bus:
    """Connects exporters and sensors; a context manager."""

    def __init__(self, exporters: Sequence[Exporter]) -> None:
        self.exporters = exporters
        self.fault: BaseException | None = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        raise NotImplementedError


class ZeroMQBus(Bus):
    """The XPUB/XSUB proxy of a cluster, and exporters as its peers."""

    def __init__(self, exporters: Sequence[Exporter], folder: Path, curve: bytes = b"") -> None:
        super().__init__(exporters)
        self.xpub, self.xsub = f"ipc://{folder}/xpub", f"ipc://{folder}/xsub"
        self._context = zmq.Context()
        self._context.linger = 0
        self._server_secret = curve
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._proxy, daemon=True)]
        self._threads += [threading.Thread(target=self._serve, args=(e,)) for e in exporters]

    def __enter__(self) -> ZeroMQBus:
        for thread in self._threads:
            thread.start()
        return self

    def close(self) -> None:
        self._ends.set()
        for thread in self._threads[1:]:
            thread.join()
        self._context.term()  # each thread closes its own sockets: others must not touch them
        self._threads[0].join()

    def send_raw(self, *parts: bytes) -> None:
        """Publish anything, as if from a peer."""
        with self._context.socket(zmq.XPUB) as sock:
            sock.connect(self.xsub)
            while sock.recv()[1:] != parts[0]:
                pass
            sock.send_multipart(parts)

    def _proxy(self) -> None:
        with self._context.socket(zmq.XPUB) as xpub, self._context.socket(zmq.XSUB) as xsub:
            for sock, endpoint in ((xpub, self.xpub), (xsub, self.xsub)):
                if self._server_secret:
                    sock.setsockopt(zmq.CURVE_SERVER, 1)
                    sock.setsockopt(zmq.CURVE_SECRETKEY, self._server_secret)
                sock.bind(endpoint)
            with suppress(zmq.ContextTerminated):
                zmq.proxy(xpub, xsub)

    def _serve(self, exporter: Exporter) -> None:
        with self._context.socket(zmq.SUB) as sub, self._context.socket(zmq.XPUB) as pub:
            self._converse(exporter, sub, pub)

    def _converse(self, exporter: Exporter, sub: zmq.Socket[bytes], pub: zmq.Socket[bytes]) -> None:
        sub.connect(self.xpub)
        pub.connect(self.xsub)
        for topic in exporter.topics:
            sub.subscribe(topic)
        while not self._ends.is_set():
            if not sub.poll(50):
                continue
            _, _, form, payload = sub.recv_multipart()
            assert form == FORMAT
            event = events.decode(broker_bin.decode_event(payload))
            for topic, answer in exporter.take(event):
                data = broker_bin.encode_event(events.encode(answer))
                pub.send_multipart([topic.encode(), b"node", FORMAT, data])


class WebSocketBus(Bus):
    """A Zeek process that listens for WebSockets; after `drop_after` messages it drops a client."""

    def __init__(
        self,
        exporters: Sequence[Exporter],
        drop_after: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(exporters)
        self.headers: list[str | None] = []
        self.subscriptions: list[list[str]] = []
        self._drop_after = drop_after
        self._server: Server = serve(
            self._serve, "127.0.0.1", 0, ssl=tls, compression=None, max_queue=None
        )
        port = self._server.socket.getsockname()[1]
        self.url = f"{'ws' if tls is None else 'wss'}://127.0.0.1:{port}/v1/messages/json"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> WebSocketBus:
        self._thread.start()
        return self

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()

    def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.headers.append(connection.request.headers.get("X-Application-Name"))
        self.subscriptions.append(websocket_api.decode_subscriptions(str(connection.recv())))
        connection.send(websocket_api.encode(Ack("zeek", "8.2.2")))
        with suppress(ConnectionClosed):
            for text in connection:
                message = websocket_api.decode(str(text))
                assert isinstance(message, DataMessage)
                if self._drop():
                    connection.close(1008)
                self._answer(message, connection.send)

    def _drop(self) -> bool:
        if self._drop_after is None:
            return False
        self._drop_after -= 1
        if self._drop_after:
            return False
        self._drop_after = None
        return True

    def _answer(self, message: DataMessage, send: Callable[[str], object]) -> None:
        event = events.decode(ZeekEvent.from_value(message.value))
        for exporter in self.exporters:
            if any(message.topic.startswith(topic) for topic in exporter.topics):
                for topic, answer in exporter.take(event):
                    value = events.encode(answer).to_value()
                    send(websocket_api.encode(DataMessage(topic, value)))
