"""What the sensor measures of itself, for Prometheus: ``/metrics``, ``/healthz``, ``/readyz``.

Whoever can reach the port is not trusted: a request has one deadline from its first byte to its
last, a head of few kilobytes and no body; few are served at a time; and however often somebody
asks, the text is made anew ten times a second at most.
"""

from __future__ import annotations

import asyncio
import math
import socket
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict
from http import HTTPStatus

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from mtc_sensor import __version__
from mtc_sensor.errors import ConfigError
from mtc_sensor.measures import Binned, Measures, Reading

HOST, PORT = "127.0.0.1", 9464
STANDS_STILL_S = 30.0
"""A loop that has not come round for so long is not healthy; loading models takes a few seconds."""
_DEADLINE_S = 5.0
_MOST_REQUESTS = 16
_HEAD_BYTES = 8192
_FRESH_S = 0.1
_PREFIX = "mtc_sensor_"


class SensorCollector(Collector):
    """The sensor's own metrics, made from `measures` at every scrape."""

    def __init__(self, measures: Measures) -> None:
        self._measures = measures

    def collect(self) -> Iterable[Metric]:
        """Yield all metrics, of one reading."""
        reading = self._measures.read()
        yield from _accounts(reading)
        yield from _work(reading)
        yield from _condition(reading)
        yield from _devices()


def render(measures: Measures) -> bytes:
    """Return all metrics, the process's too, in Prometheus's text format."""
    registry = CollectorRegistry()
    registry.register(SensorCollector(measures))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


def _accounts(reading: Reading) -> Iterable[Metric]:
    # Gauges: samples whose verdicts were lost with a connection are judged again.
    samples = GaugeMetricFamily(
        _PREFIX + "samples",
        "Samples by what became of them: judged, shed, lost, in_flight.",
        labels=["node", "state"],
    )
    sampled = GaugeMetricFamily(
        _PREFIX + "sampled",
        "Samples that exporters have made: the sum of all states.",
        labels=["node"],
    )
    for node, totals in reading.nodes.items():
        sampled.add_metric([node], totals.sampled)
        for state, count in asdict(totals).items():
            samples.add_metric([node, state], count)
    yield from (samples, sampled)
    yield _counter(
        "shed",
        "Samples not judged, or not by all models, or not explained.",
        "reason",
        reading.shed,
    )
    yield _counter("dropped", "Events that were not taken.", "reason", reading.dropped)


def _work(reading: Reading) -> Iterable[Metric]:
    verdicts = CounterMetricFamily(
        _PREFIX + "verdicts", "Verdicts by model and label.", labels=["model", "label"]
    )
    for names, count in reading.verdicts.items():
        verdicts.add_metric(names, count)
    yield verdicts
    yield _histogram("stage_seconds", "Time of one run of a stage.", reading.stages, label="stage")
    yield _histogram(
        "batch_size", "Samples that a model judged together.", reading.batches, label="model"
    )
    yield _histogram("wait_seconds", "A sample's time before its batch.", {"": reading.wait})
    yield _histogram(
        "added_seconds", "A sample's time in models and publishing.", {"": reading.added}
    )


def _condition(reading: Reading) -> Iterable[Metric]:
    waits = "What waits: messages in the inbox, samples in the batcher."
    depth = GaugeMetricFamily(_PREFIX + "queue_depth", waits, labels=["queue"])
    for name, waiting in reading.queues.items():
        depth.add_metric([name], waiting)
    yield depth
    loaded = GaugeMetricFamily(
        _PREFIX + "model_info", "Loaded models; always 1.", labels=["model", "version"]
    )
    for name, version in reading.versions.items():
        loaded.add_metric([name, version], 1)
    yield loaded
    info = GaugeMetricFamily(_PREFIX + "info", "The sensor; always 1.", labels=["version"])
    info.add_metric([__version__], 1)
    yield info
    yield GaugeMetricFamily(
        _PREFIX + "connected", "Whether Zeek's bus is there.", value=reading.connected
    )
    yield GaugeMetricFamily(
        _PREFIX + "idle_seconds", "Since the loop last came round.", value=reading.idle_s
    )


def _devices() -> Iterable[Metric]:
    memory = GaugeMetricFamily(
        _PREFIX + "device_memory_bytes",
        "Memory of CUDA devices: allocated by tensors, reserved by torch.",
        labels=["device", "kind"],
    )
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        for device in range(torch.cuda.device_count()):
            name = f"cuda:{device}"
            memory.add_metric([name, "allocated"], torch.cuda.memory_allocated(device))
            memory.add_metric([name, "reserved"], torch.cuda.memory_reserved(device))
    yield memory


def _counter(name: str, text: str, label: str, counts: dict[str, int]) -> Metric:
    metric = CounterMetricFamily(_PREFIX + name, text, labels=[label])
    for value, count in counts.items():
        metric.add_metric([value], count)
    return metric


def _histogram(name: str, text: str, binned: dict[str, Binned], label: str = "") -> Metric:
    metric = HistogramMetricFamily(_PREFIX + name, text, labels=[label] if label else [])
    for value, one in binned.items():
        upto = one.counts.cumsum().tolist()
        edges = [*map(floatToGoString, one.edges), "+Inf"]
        metric.add_metric(
            [value] if label else [], list(zip(edges, upto, strict=True)), sum_value=one.total
        )
    return metric


class MetricsServer:
    """Serves what was measured, from a thread of its own.

    Parameters
    ----------
    measures
        What is shown.
    host, port
        Where to listen; port 0 takes any that is free, see `address`.
    """

    def __init__(self, measures: Measures, host: str = HOST, port: int = PORT) -> None:
        self._measures = measures
        self._host, self._port = host, port
        self._text, self._made = b"", -math.inf
        self._requests = 0
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on, once started."""
        assert self._server is not None
        host, port, *_ = self._server.sockets[0].getsockname()
        return host, port

    def start(self) -> None:
        """Begin to serve. Raises ConfigError if the address cannot be had."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            listening = socket.create_server((self._host, self._port), family=family)
        except OSError as fault:
            raise ConfigError(
                f"metrics: {self._host}, port {self._port}: {fault.strerror}: give host an address "
                "of this machine and port a number that nothing else listens on"
            ) from fault
        serve = asyncio.start_server(self._serve, sock=listening, limit=_HEAD_BYTES)
        self._server = self._loop.run_until_complete(serve)
        self._thread.start()

    def close(self) -> None:
        """End; a second time, or before `start`, it does nothing more."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        elif not self._loop.is_closed():
            self._loop.close()

    def _run(self) -> None:
        self._loop.run_forever()
        assert self._server is not None
        self._server.close()
        self._loop.run_until_complete(_cancel_all())
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._requests += 1
        try:
            if self._requests <= _MOST_REQUESTS:
                await asyncio.wait_for(self._converse(reader, writer), _DEADLINE_S)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
            pass  # the client's affair
        finally:
            self._requests -= 1
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            status, body = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, b""
        else:
            status, body = self._answer(head)
        writer.write(
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        )
        writer.write(body)
        writer.close()
        await writer.wait_closed()

    def _answer(self, head: bytes) -> tuple[HTTPStatus, bytes]:
        """Return the answer to a request of which `head` is all up to the empty line."""
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method != b"GET":
            return HTTPStatus.METHOD_NOT_ALLOWED, b"GET only\n"
        if path == b"/metrics":
            return HTTPStatus.OK, self._metrics()
        if path == b"/healthz":
            return _judged(health(self._measures.read()))
        if path == b"/readyz":
            return _judged(readiness(self._measures.read()))
        return HTTPStatus.NOT_FOUND, b"/metrics, /healthz, /readyz\n"

    def _metrics(self) -> bytes:
        now = time.monotonic()
        if now - self._made >= _FRESH_S:
            self._text, self._made = render(self._measures), now
        return self._text


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def health(reading: Reading) -> str:
    """Return what keeps the sensor from being alive; nothing if it is."""
    if reading.idle_s < STANDS_STILL_S:
        return ""
    return f"the loop has not come round for {reading.idle_s:.0f} s"


def readiness(reading: Reading) -> str:
    """Return what keeps the sensor from judging; nothing if it can."""
    if not reading.versions:
        return "no models are loaded"
    return health(reading) if reading.connected else "not connected to Zeek's bus"


def _judged(fault: str) -> tuple[HTTPStatus, bytes]:
    status = HTTPStatus.SERVICE_UNAVAILABLE if fault else HTTPStatus.OK
    return status, (fault or "ok").encode() + b"\n"
