"""`mtc-sensor run` as a process, with an exporter of our own at the other end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mtc_sensor.config import TransportConfig, ZeroMQConfig
from tests.integration.exporter import Exporter, ZeroMQBus
from tests.unit.wire.build import sample

TIMEOUT_S = 60.0
MODEL = "byte-cnn"


@contextmanager
def sensor(
    folder: Path, transport: TransportConfig, extra: str = "", model: str = MODEL
) -> Iterator[subprocess.Popen[str]]:
    """`mtc-sensor run` as a process, which is killed at the end."""
    config = folder / "sensor.yaml"
    config.write_text(
        f"models: ['{model}']\nlog: {{format: json}}\n{extra}"
        f"transport: {transport.model_dump_json()}\n"
    )
    command = [sys.executable, "-m", "mtc_sensor", "run", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < end, "nothing happened for too long"
        time.sleep(0.02)


def at(bus: ZeroMQBus) -> TransportConfig:
    return TransportConfig(zeromq=ZeroMQConfig(xpub=bus.xpub, xsub=bus.xsub))


def end(process: subprocess.Popen[str]) -> tuple[int, list[dict[str, Any]]]:
    _, errors = process.communicate(timeout=TIMEOUT_S)
    return process.returncode, [json.loads(line) for line in errors.splitlines()]


def terminate_twice(process: subprocess.Popen[str]) -> None:
    """Send SIGTERM again once the first one was handled: two that wait count as one."""
    process.terminate()
    wait_for(lambda: not catches_sigterm(process.pid))
    process.terminate()


def catches_sigterm(pid: int) -> bool:
    """Say whether a process has a handler of SIGTERM, see proc_pid_status(5)."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def told(log: list[dict[str, Any]], by_transports: bool = False) -> list[str]:
    """Return the messages of the transports, or of all the rest."""
    kept = [line for line in log if ("transports" in line["logger"]) == by_transports]
    return [line["message"] for line in kept]


@pytest.mark.slow
def test_it_judges_reloads_and_ends(tmp_path: Path) -> None:
    count = 1200
    exporter = Exporter([sample(heads=8, seq=i) for i in range(count)])
    lines = tmp_path / "verdicts.json"
    bus = ZeroMQBus([exporter], tmp_path)
    with bus, sensor(tmp_path, at(bus), f"verdicts: '{lines}'\n") as process:
        wait_for(lambda: len(exporter.verdicts) > 100)
        lines.rename(tmp_path / "moved.json")
        process.send_signal(signal.SIGHUP)
        assert exporter.done.wait(TIMEOUT_S)
        process.terminate()
        code, log = end(process)
    assert code == 0
    assert told(log) == ["models", "models", "stopped"]
    assert told(log, by_transports=True)[-1] == f"zeromq {bus.xpub}: connected"
    assert log[-1].items() >= {"judged": count, "shed": 0, "lost": 0, "in_flight": 0}.items()
    assert sorted(verdict.seq for verdict in exporter.verdicts) == list(range(1, count + 1))
    written = [(tmp_path / "moved.json").read_text().splitlines(), lines.read_text().splitlines()]
    assert min(map(len, written)) > 0
    assert [json.loads(line)["model"] for part in written for line in part] == [MODEL] * count


@pytest.mark.slow
def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    exporter = Exporter([sample(heads=8)])
    with ZeroMQBus([exporter], tmp_path) as bus, sensor(tmp_path, at(bus)) as process:
        assert exporter.done.wait(TIMEOUT_S)
        terminate_twice(process)
        code, log = end(process)
    assert code == -signal.SIGTERM
    assert told(log) == ["models"]
