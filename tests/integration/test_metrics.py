"""The metrics of `mtc-sensor run` as a process, scraped while it judges."""

from __future__ import annotations

import json
import socket
import time
from http.client import HTTPConnection
from pathlib import Path

import pytest

from mtc_sensor.cli import run
from mtc_sensor.status import scrape
from tests.integration.exporter import Exporter, ZeroMQBus
from tests.integration.test_run import MODEL, TIMEOUT_S, at, end, sensor, wait_for
from tests.unit.wire.build import sample

STATES = ("judged", "shed", "lost", "in_flight")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def answers(port: int, path: str) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def accounts(url: str) -> dict[str, float]:
    """Return the samples of all nodes by state, and how many were sampled."""
    found = scrape(url)
    states = dict.fromkeys(STATES, 0.0)
    for labels, value in found.get("mtc_sensor_samples", {}).items():
        states[dict(labels)["state"]] += value
    return {**states, "sampled": sum(found.get("mtc_sensor_sampled", {}).values())}


@pytest.mark.slow
def test_what_became_of_samples_is_right_at_every_scrape(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    count, port = 2000, free_port()
    url = f"http://127.0.0.1:{port}"
    exporter = Exporter([sample(heads=8, seq=i) for i in range(count)], "worker-1")
    bus = ZeroMQBus([exporter], tmp_path)
    seen: list[dict[str, float]] = []
    with bus, sensor(tmp_path, at(bus), f"metrics: {{port: {port}}}\n") as process:
        wait_for(lambda: answers(port, "/readyz"))
        begin = time.monotonic()
        while not exporter.done.is_set() and time.monotonic() < begin + TIMEOUT_S:
            seen.append(accounts(url))
        wait_for(lambda: accounts(url)["judged"] == count)
        assert answers(port, "/healthz")
        assert run(["status", "--json", "--interval", "0.1", "--url", url]) == 0
        process.terminate()
        code, _ = end(process)
    assert code == 0
    assert not answers(port, "/metrics")
    assert all(one["sampled"] == sum(one[state] for state in STATES) for one in seen)
    assert [one["sampled"] for one in seen] == sorted(one["sampled"] for one in seen)
    status = json.loads(capsys.readouterr().out)
    assert [(node["node"], node["judged"]) for node in status["nodes"]] == [("worker-1", count)]
    assert sum(status["models"][0]["verdicts"].values()) == count
    assert status["models"][0]["model"] == MODEL
    assert status["added"]["p99_s"] > 0
    assert {"receive", "decode", "batch", "infer", "publish"} <= status["busy"].keys()
