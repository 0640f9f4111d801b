from __future__ import annotations

import json
import math
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtc_sensor.cli import run
from mtc_sensor.errors import StatusError
from mtc_sensor.measures import Measures
from mtc_sensor.metrics import MetricsServer, render
from mtc_sensor.status import make_status, parse, quantile, read_status
from mtc_sensor.streams import Totals

EMPTY = render(Measures()).decode()


def measure(measures: Measures, judged: int) -> None:
    """Judge `judged` more samples of worker-1."""
    before = measures.read().nodes.get("worker-1", Totals())
    total = Totals(before.judged + judged, shed=3, lost=2, in_flight=1)
    measures.state({"worker-1": total, "worker-2": Totals(judged=5)}, {"stale": 4}, connected=True)
    measures.judged(np.full(judged, 0.010), np.full(judged, 0.004))
    measures.batch("byte-cnn", judged)
    measures.verdict("byte-cnn", "benign", judged)
    measures.stage("infer", 0.2)
    measures.models({"byte-cnn": "1.0"})
    measures.queue("inbox", 7)
    measures.shed("newest", 3)


@contextmanager
def serving(measures: Measures) -> Iterator[str]:
    server = MetricsServer(measures, port=0)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.address[1]}"
    finally:
        server.close()


def test_totals_and_rates() -> None:
    measures = Measures()
    measure(measures, 100)
    before = parse("", render(measures).decode())
    measure(measures, 300)
    status = make_status("", before, parse("", render(measures).decode()), 2.0)
    first, second = status.nodes
    assert (first.node, first.sampled, first.judged) == ("worker-1", 406, 400)
    assert (first.shed, first.lost, first.in_flight) == (3, 2, 1)
    assert (first.sampled_per_s, first.judged_per_s) == (150.0, 150.0)
    assert (second.node, second.sampled, second.sampled_per_s) == ("worker-2", 5, 0.0)
    assert status.wait.p50_s == pytest.approx(0.010, rel=0.42)
    assert status.added.now_p99_s == pytest.approx(0.004, rel=0.42)
    (model,) = status.models
    assert (model.model, model.version, model.verdicts) == ("byte-cnn", "1.0", {"benign": 400})
    assert (model.verdicts_per_s, model.batch) == (150.0, 200.0)
    assert status.busy == {"infer": pytest.approx(0.1)}
    assert (status.queues, status.dropped) == ({"inbox": 7}, {"stale": 4})
    assert (status.shed, status.connected) == ({"newest": 6}, True)
    assert status.resident_bytes > 1e6


def test_a_sensor_that_has_just_begun() -> None:
    scrape = parse("", EMPTY)
    status = make_status("", scrape, scrape, 1.0)
    assert (status.nodes, status.models, status.connected) == ([], [], False)
    assert status.wait.p50_s is status.added.now_p99_s is None


def test_a_restart_between_the_readings_makes_no_negative_rates() -> None:
    measures = Measures()
    measure(measures, 100)
    before, after = parse("", render(measures).decode()), parse("", EMPTY)
    status = make_status("", before, after, 1.0)
    assert status.wait.now_p50_s is None
    measure(measures, 1)
    assert make_status("", parse("", render(measures).decode()), before, 1.0).nodes[0].judged == 100


@given(st.lists(st.floats(1e-4, 50.0), min_size=1, max_size=200), st.sampled_from([0.5, 0.99]))
def test_quantiles_are_right_within_a_bin(values: list[float], q: float) -> None:
    measures = Measures()
    measures.judged(np.array(values), np.zeros(0))
    binned = measures.read().wait
    buckets = list(zip([*binned.edges, math.inf], binned.counts.cumsum().tolist(), strict=True))
    found = quantile(q, buckets)
    exact = sorted(values)[max(math.ceil(q * len(values)) - 1, 0)]
    assert found is not None
    assert exact / 1.5 <= found <= exact * 1.5


def test_above_the_last_edge_a_quantile_is_the_last_edge() -> None:
    assert quantile(0.5, [(1.0, 0.0), (2.0, 0.0), (math.inf, 5.0)]) == 2.0


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    measures = Measures()
    measure(measures, 100)
    with serving(measures) as url:
        assert run(["status", "--url", url, "--interval", "0.1"]) == 0
    shown = capsys.readouterr().out
    for expected in (
        "mtc-sensor 0", ", connected, ", "worker-1", "106", "byte-cnn", "benign 100", "p99 now",
        "queues: inbox 7", "shed: newest 3", "dropped: stale 4", "busy: infer 0%",
    ):  # fmt: skip
        assert expected in shown, shown


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    measures = Measures()
    measure(measures, 100)
    with serving(measures) as url:
        arguments = ["status", "--json", "--interval", "0.1", "--url", url, "--url", url]
        assert run(arguments) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["url"] for one in objects] == [url, url]
    assert objects[0]["nodes"][0]["sampled"] == 106
    assert objects[0]["models"][0]["verdicts"] == {"benign": 100}


def test_where_nothing_listens(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    assert run(["status", "--url", url]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"mtc-sensor: {url}: ")
    assert "section metrics in its sensor.yaml" in error


@pytest.mark.parametrize(
    "url", ["127.0.0.1:9464", "https://x/", "file:///etc/passwd", "http://[", "http://x:y"]
)
def test_what_is_no_address_is_named(url: str) -> None:
    with pytest.raises(StatusError, match=r"127\.0\.0\.1:9464|is the sensor running"):
        read_status(url)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n\r\nup 1\n",
        b"HTTP/1.1 200 OK\r\n\r\nmtc_sensor_idle_seconds NaN\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nup 1\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"",
    ],
)
def test_another_server(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:

        def serve() -> None:
            client, _ = sock.accept()
            with client:
                client.recv(65536)
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(StatusError, match=r"^http://127\.0\.0\.1:\d+: "):
            read_status(f"http://127.0.0.1:{sock.getsockname()[1]}")
        thread.join()


@pytest.fixture(scope="module")
def exposed() -> str:
    measures = Measures()
    measure(measures, 3)
    return render(measures).decode()


EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.text(max_size=3), st.integers(0, 9)), min_size=1, max_size=3
)


@given(EDITS)
def test_mutated_metrics_give_a_status_or_an_error(
    exposed: str, edits: list[tuple[float, str, int]]
) -> None:
    text = exposed
    for place, new, gone in edits:
        at = int(place * len(text))
        text = text[:at] + new + text[at + gone :]
    with suppress(StatusError):
        scrape = parse("", text)
        make_status("", scrape, scrape, 1.0)


def test_what_a_terminal_might_obey_is_not_shown() -> None:
    measures = Measures()
    measures.state({"\x1b[31mred": Totals(judged=1)}, {}, connected=True)
    scrape = parse("", render(measures).decode())
    assert make_status("", scrape, scrape, 1.0).nodes[0].node == "?[31mred"
