"""Replays through a real Zeek in which something goes wrong: exact, or ended with an error."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from mtc_sensor.sensor import Sensor
from mtc_sensor.streams import Totals
from mtc_sensor.transports.base import Inbox, Incoming
from mtc_sensor.wire.records import Records
from tests.zeek.beside import (
    DEMO,
    ROOT,
    TRANSPORTS,
    Echo,
    Zeek,
    meet,
    running,
    wait_for,
    write_flows,
)
from tests.zeek.echo import make_sensor

pytestmark = pytest.mark.zeek
RECORDS = 308
"""That the scripts make of the demo's capture."""
END_S = 30.0


def assert_exact(zeek: Zeek, sensor: Sensor, records: int = RECORDS) -> None:
    """Assert that a replay ends by itself, and that every record was judged once."""
    assert zeek.wait() == 0
    assert len(zeek.verdicts) == len(set(zeek.verdicts)) == records
    counters = zeek.counters
    assert (counters["last"], counters["highest"], counters["acked"]) == (records,) * 3
    assert (counters["shed"], counters["lost"]) == (0, 0)
    assert sensor.totals == Totals(judged=records, shed=0, lost=0, in_flight=0)


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_a_sensor_can_come_before_zeek(kind: str, tmp_path: Path) -> None:
    config, script = meet(kind, tmp_path)
    with running(lambda: make_sensor(config)) as sensor:
        time.sleep(0.5)
        with Zeek(tmp_path / "zeek", DEMO, script) as zeek:
            assert_exact(zeek, sensor)


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_a_sensor_can_come_after_zeek(kind: str, tmp_path: Path) -> None:
    config, script = meet(kind, tmp_path)
    with Zeek(tmp_path / "zeek", DEMO, script) as zeek:
        wait_for(lambda: "processing suspended" in zeek.errors)
        time.sleep(0.5)
        with running(lambda: make_sensor(config)) as sensor:
            assert_exact(zeek, sensor)


def test_a_subscription_can_be_seen_late(tmp_path: Path) -> None:
    config, script = meet("zeromq", tmp_path)
    late = config.zeromq.model_copy(update={"xpub": f"ipc://{tmp_path}/late"})
    with (
        Zeek(tmp_path / "zeek", DEMO, script) as zeek,
        running(lambda: make_sensor(config.model_copy(update={"zeromq": late}))) as sensor,
    ):
        wait_for(lambda: "processing suspended" in zeek.errors)
        time.sleep(2.5)  # it has said hello twice
        assert sensor.totals.sampled == 0
        forward(tmp_path / "late", tmp_path / "xpub")
        assert_exact(zeek, sensor)


def forward(source: Path, target: Path) -> None:
    """Begin to pass on what comes at one socket to another, both ways, one connection."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(source))
    server.listen()

    def copy(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(1 << 16):
                other.sendall(data)
            other.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        one, other = server.accept()[0], socket.socket(socket.AF_UNIX)
        other.connect(str(target))
        threading.Thread(target=copy, args=(one, other), daemon=True).start()
        copy(other, one)

    threading.Thread(target=accept, daemon=True).start()


class Leaky(Inbox):
    """Loses what has samples of some numbers when these come first."""

    def __init__(self, lose: set[int]) -> None:
        super().__init__()
        self.lose = lose

    def get(self, timeout: float) -> list[Incoming]:
        return [item for item in super().get(timeout) if not self._loses(item)]

    def _loses(self, item: Incoming) -> bool:
        numbers = set(item.seq.tolist()) if isinstance(item, Records) else set()
        lost = not numbers.isdisjoint(self.lose)
        self.lose -= numbers
        return lost


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_the_last_samples_can_be_lost_on_the_way(kind: str, tmp_path: Path) -> None:
    config, script = meet(kind, tmp_path)
    leaky = Leaky(set(range(RECORDS - 40, RECORDS + 1)))
    with (
        running(lambda: make_sensor(config, leaky)) as sensor,
        Zeek(tmp_path / "zeek", DEMO, script) as zeek,
    ):
        assert_exact(zeek, sensor)
    assert leaky.lose == set()


@pytest.mark.parametrize("kind", TRANSPORTS)
def test_a_replay_ends_when_its_sensor_dies(kind: str, tmp_path: Path) -> None:
    config, script = meet(kind, tmp_path)
    with (
        Echo(tmp_path, config, "--slow", "0.01") as sensor,
        Zeek(tmp_path / "zeek", DEMO, script) as zeek,
    ):
        wait_for(lambda: len(zeek.verdicts) > 50)
        sensor.process.kill()
        assert zeek.wait(END_S) == 0
        counters, reported = zeek.counters, (tmp_path / "zeek" / "reporter.log").read_text()
    assert counters["acked"] < RECORDS
    assert f"the sensor of shard 0 has gone after sample {counters['acked']} of" in reported


@pytest.mark.parametrize(
    "kind",
    [TRANSPORTS[0], *(pytest.param(kind, marks=pytest.mark.long) for kind in TRANSPORTS[1:])],
)
@pytest.mark.parametrize("progress", ["at once", "in the middle"])
def test_zeek_ends_with_the_command_that_started_it(
    kind: str, progress: str, tmp_path: Path
) -> None:
    big = write_flows(tmp_path / "big.pcap", flows=20_000, seconds=20)
    command = [sys.executable, "-m", "mtc_sensor", "replay", "--zeek", "--transport", kind]
    command += ["--models", "byte-cnn", "--out", str(tmp_path / "logs"), str(big)]
    found: list[int] = []

    def has_started() -> bool:
        found[:] = children(process.pid)
        return bool(found)

    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            wait_for(has_started)
            if progress == "in the middle":
                log = tmp_path / "logs" / "mtc.log"
                wait_for(lambda: log.is_file() and log.stat().st_size > 10_000)
        finally:
            process.kill()
    (zeek,) = found
    wait_for(lambda: not is_alive(zeek), END_S)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    return False


@pytest.mark.long
def test_a_stopped_websocket_comes_back(tmp_path: Path) -> None:
    """Zeek disconnects it after its pings had no answer."""
    stop_and_continue(tmp_path, 13.0)


@pytest.mark.long
def test_a_websocket_stopped_for_long_comes_back(tmp_path: Path) -> None:
    stop_and_continue(tmp_path, 30.0)


def stop_and_continue(folder: Path, seconds: float) -> None:
    config, script = meet("websocket", folder)
    with (
        Echo(folder, config, "--slow", "0.01") as sensor,
        Zeek(folder / "zeek", DEMO, script) as zeek,
    ):
        wait_for(lambda: len(zeek.verdicts) > 50)
        os.kill(sensor.process.pid, signal.SIGSTOP)
        time.sleep(seconds)
        before = len(zeek.verdicts)
        os.kill(sensor.process.pid, signal.SIGCONT)
        assert zeek.wait() == 0
        totals = sensor.end()
    assert before < RECORDS == len(zeek.verdicts) == len(set(zeek.verdicts))
    assert zeek.counters["acked"] == RECORDS
    assert (totals["judged"], totals["lost"], totals["in_flight"]) == (RECORDS, 0, 0)
