from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from types import SimpleNamespace

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mtc_sensor import metrics
from mtc_sensor.errors import ConfigError
from mtc_sensor.measures import Measures
from mtc_sensor.metrics import MetricsServer, render
from mtc_sensor.streams import Totals

NODES = {"worker-1": Totals(10, 1, 2, 3), "worker-2": Totals(5, 0, 0, 0)}


def filled() -> Measures:
    measures = Measures()
    for name in ("receive", "decode", "batch", "infer", "publish"):
        measures.stage(name, 0.001)
    measures.batch("byte-cnn", 256)
    measures.judged(np.array([0.01, 0.02, 3.0]), np.array([0.001, 0.001, 500.0]))
    measures.verdict("byte-cnn", "benign", 14)
    measures.shed("newest", 1)
    measures.queue("inbox", 7)
    measures.models({"byte-cnn": "1.0"})
    measures.state(NODES, {"stale": 4}, connected=True)
    return measures


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    server = MetricsServer(filled(), port=0)
    server.start()
    yield server
    server.close()


def get(server: MetricsServer, path: str, method: str = "GET") -> tuple[int, str]:
    connection = HTTPConnection(*server.address, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def send(server: MetricsServer, data: bytes) -> bytes:
    with socket.create_connection(server.address, timeout=10) as sock:
        sock.sendall(data)
        received = b""
        while part := sock.recv(65536):
            received += part
        return received


def drip(sock: socket.socket) -> None:
    for _ in range(1000):
        sock.sendall(b"x")
        time.sleep(0.01)


def scraped(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_everything_measured_is_scraped(server: MetricsServer) -> None:
    status, text = get(server, "/metrics")
    assert status == 200
    found = scraped(text)
    assert found["mtc_sensor_samples", ("worker-1", "lost")] == 2
    assert found["mtc_sensor_sampled", ("worker-1",)] == 16
    assert found["mtc_sensor_shed_total", ("newest",)] == 1
    assert found["mtc_sensor_dropped_total", ("stale",)] == 4
    assert found["mtc_sensor_queue_depth", ("inbox",)] == 7
    assert found["mtc_sensor_verdicts_total", ("benign", "byte-cnn")] == 14
    assert found["mtc_sensor_model_info", ("byte-cnn", "1.0")] == 1
    assert found["mtc_sensor_batch_size_bucket", ("128.0", "byte-cnn")] == 0
    assert found["mtc_sensor_batch_size_bucket", ("256.0", "byte-cnn")] == 1
    assert found["mtc_sensor_stage_seconds_count", ("infer",)] == 1
    assert found["mtc_sensor_wait_seconds_count", ()] == 3
    assert found["mtc_sensor_wait_seconds_sum", ()] == pytest.approx(3.03)
    assert found["mtc_sensor_added_seconds_bucket", ("+Inf",)] == 3
    assert found["mtc_sensor_connected", ()] == 1
    assert 0 <= found["mtc_sensor_idle_seconds", ()] < 60
    assert found["process_resident_memory_bytes", ()] > 1e6


def test_histograms_ascend(server: MetricsServer) -> None:
    found = scraped(get(server, "/metrics")[1])
    upto = [
        value for (name, _), value in found.items() if name == "mtc_sensor_added_seconds_bucket"
    ]
    assert upto == sorted(upto)
    assert upto[-2:] == [2, 3]


def test_states_add_up_to_sampled_at_any_scrape() -> None:
    measures, ends = Measures(), threading.Event()

    def write() -> None:
        number = 0
        while not ends.is_set():
            number += 1
            nodes = {f"n{i}": Totals(number, i, number, number % 7) for i in range(10)}
            measures.state(nodes, {}, connected=True)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(20):
            found = scraped(render(measures).decode())
            for (name, labels), value in found.items():
                if name == "mtc_sensor_sampled":
                    states = ("judged", "shed", "lost", "in_flight")
                    parts = [found["mtc_sensor_samples", (*labels, state)] for state in states]
                    assert value == sum(parts)
    finally:
        ends.set()
        thread.join()


def test_names_from_the_wire_are_quoted() -> None:
    measures = Measures()
    name = 'a"b\\c{}=,'
    measures.state({name: Totals(judged=1)}, {}, connected=True)
    assert scraped(render(measures).decode())["mtc_sensor_samples", (name, "judged")] == 1


def test_memory_of_each_cuda_device(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        device_count=lambda: 2,
        memory_allocated=lambda device: 100 + device,
        memory_reserved=lambda device: 200 + device,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    found = scraped(render(Measures()).decode())
    assert found["mtc_sensor_device_memory_bytes", ("cuda:1", "allocated")] == 101
    assert found["mtc_sensor_device_memory_bytes", ("cuda:0", "reserved")] == 200


def test_health_and_readiness() -> None:
    now = [0.0]
    measures = Measures(lambda: now[0])
    server = MetricsServer(measures, port=0)
    server.start()
    try:
        assert get(server, "/healthz") == (200, "ok\n")
        assert get(server, "/readyz") == (503, "no models are loaded\n")
        measures.models({"byte-cnn": "1.0"})
        assert get(server, "/readyz") == (503, "not connected to Zeek's bus\n")
        measures.state({}, {}, connected=True)
        assert get(server, "/readyz") == (200, "ok\n")
        now[0] = metrics.STANDS_STILL_S
        assert get(server, "/healthz") == (503, "the loop has not come round for 30 s\n")
        assert get(server, "/readyz")[0] == 503
    finally:
        server.close()


def test_what_it_does_not_serve(server: MetricsServer) -> None:
    assert get(server, "/../etc/passwd") == (404, "/metrics, /healthz, /readyz\n")
    assert get(server, "/metrics", "POST") == (405, "GET only\n")
    assert get(server, "/metrics?x=1")[0] == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\r\n\r\n", b"405"),
        (b"GET\r\n\r\n", b"405"),
        (b"GET /metrics\r\n\r\n", b"404"),
        (b"\xff\x00 \xfe\r\n\r\n", b"405"),
        (b"GET " + b"a" * 100_000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000, b"431"),
    ],
)
def test_nonsense_is_refused(server: MetricsServer, request_: bytes, status: bytes) -> None:
    try:
        answer = send(server, request_)
    except ConnectionError:  # it need not read on what it refuses
        answer = b""
    assert answer == b"" or answer.split(b" ")[1] == status
    assert get(server, "/healthz")[0] == 200


def test_slow_clients_are_cut_off(server: MetricsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_DEADLINE_S", 0.5)
    with ExitStack() as stack:
        for _ in range(50):
            sock = stack.enter_context(socket.create_connection(server.address, timeout=10))
            sock.sendall(b"GET /metr")
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                if get(server, "/healthz")[0] == 200:
                    break
            except (ConnectionError, OSError):
                time.sleep(0.05)
        assert get(server, "/healthz")[0] == 200
        with pytest.raises(OSError, match=r"reset|closed|pipe"):
            drip(sock)


def test_many_scrapes_cost_one_rendering(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered = []

    def count(measures: Measures) -> bytes:
        rendered.append(measures)
        return b"text"

    monkeypatch.setattr(metrics, "render", count)
    monkeypatch.setattr(metrics, "_FRESH_S", 60.0)
    assert {get(server, "/metrics")[1] for _ in range(10)} == {"text"}
    assert len(rendered) == 1


def test_a_fault_in_rendering_ends_one_request_only(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Measures) -> bytes:
        raise ValueError("broken")

    monkeypatch.setattr(metrics, "render", fail)
    assert send(server, b"GET /metrics HTTP/1.1\r\n\r\n") == b""
    assert get(server, "/healthz")[0] == 200


def test_an_address_in_use_is_named(server: MetricsServer) -> None:
    port = server.address[1]
    with pytest.raises(ConfigError, match=rf"metrics: 127\.0\.0\.1, port {port}: .*in use"):
        MetricsServer(Measures(), port=port).start()


def test_it_ends_while_somebody_is_connected_and_frees_its_port() -> None:
    server = MetricsServer(filled(), port=0)
    server.start()
    port = server.address[1]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(b"GET /metr")
        assert get(server, "/healthz")[0] == 200
        server.close()
        server.close()
        assert sock.recv(1) == b""
    again = MetricsServer(filled(), port=port)
    again.start()
    again.close()


def test_what_was_never_started_is_closed() -> None:
    server = MetricsServer(Measures())
    server.close()
    server.close()
