"""A Zeek that sees traffic at its own pace, while its sensor dies, stops, or falls behind."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.zeek.beside import TRANSPORTS, Echo, Zeek, meet, wait_for, write_flows
from tests.zeek.bystander import ANSWERS, Bystander, OnBroker, OnProxy

pytestmark = pytest.mark.zeek
logger = logging.getLogger(__name__)
FLOWS, PER_SECOND = 40, 20
RATE = 400
"""Records in a second: each flow has a block every 0.1 s."""
OPTIONS = ("MTC::block_interval=0.1sec", "MTC::max_queue=500")
LONGEST_S = 120.0
"""Of a capture, for machines that take long to start Python; tests end Zeek when all was seen."""
WARM_UP_S = 2.0
RESUME_S = 10.0
"""Many times what it takes (the log says how long), for machines that have other things to do."""
MOST_LAG_S = 3.0
"""Less than a Zeek that waits for its sensor would fall behind, 4 s; busy machines do too."""
MOST_DELAY_S = 1.0
"""More than it was, on a bus that a stopped sensor does not hold up for 3.5 s."""


def start(folder: Path, script: Path, seconds: float = LONGEST_S) -> Zeek:
    """Start Zeek on `seconds` of flows that go on all the time."""
    pcap = folder / f"{seconds}.pcap"
    if not pcap.exists():
        write_flows(pcap, FLOWS, 0.1, round(seconds * PER_SECOND), seconds)
    return Zeek(folder / f"zeek-{time.monotonic_ns()}", pcap, script, *OPTIONS, "--pseudo-realtime")


def lag(zeek: Zeek) -> float:
    """Return how far Zeek fell behind the packets' time, at most, once it was warm."""
    ticks = [(when, float(line[5:])) for when, line in zeek.lines if line.startswith("tick ")]
    behind = [when - packet_time for when, packet_time in ticks if packet_time > 0]
    warm = behind[round(WARM_UP_S / 0.05) :]
    return max(warm) - min(warm)


def assert_accounted(zeek: Zeek) -> dict[str, int]:
    """Assert that every record has a verdict, or is counted: shed, lost, or not answered yet."""
    counters = zeek.counters
    assert len(zeek.verdicts) == len(set(zeek.verdicts))
    judged = len(zeek.verdicts)
    waiting = counters["last"] - counters["sent"]
    made = counters["last"] + counters["shed"]
    parts = (judged, counters["shed"], counters["lost"], counters["unanswered"], waiting)
    assert sum(parts) == made, (parts, counters)
    return counters


@pytest.mark.long
@pytest.mark.parametrize("kind", TRANSPORTS)
def test_sensors_are_killed_again_and_again(kind: str, tmp_path: Path) -> None:
    """What a sensor said last can come after the next one's hello."""
    config, script = meet(kind, tmp_path)
    resumed = []
    with start(tmp_path, script) as zeek:
        for kill in range(8):
            with Echo(tmp_path, config) as sensor:
                before, ready = len(zeek.verdicts), sensor.ready()
                resumed.append(wait_for(lambda: len(zeek.verdicts) > before) - ready)  # noqa: B023
                time.sleep(kill / 8)
        assert zeek.end() == 0
        counters = assert_accounted(zeek)
    logger.info(f"{kind}: resumed after {[f'{s:.2f}' for s in resumed]} s, {counters}")
    assert max(resumed[1:]) < RESUME_S  # before that Zeek begins


def by_default(chosen: str) -> list[Any]:
    """Return all transports, those that were not chosen for long runs only."""
    return [
        kind if kind == chosen else pytest.param(kind, marks=pytest.mark.long)
        for kind in TRANSPORTS
    ]


@pytest.mark.parametrize("kind", by_default("zeromq"))
def test_a_sensor_is_killed_and_restarted(kind: str, tmp_path: Path) -> None:
    config, script = meet(kind, tmp_path)
    with start(tmp_path, script) as zeek:
        with Echo(tmp_path, config) as first:
            wait_for(lambda: len(zeek.verdicts) > 3 * RATE)
            before_fault = lag(zeek)
            first.process.kill()
        time.sleep(4.0)
        with Echo(tmp_path, config) as second:
            before, ready = len(zeek.verdicts), second.ready()
            resumed = wait_for(lambda: len(zeek.verdicts) > before)
            wait_for(lambda: len(zeek.verdicts) > before + RATE)
            assert zeek.end() == 0
            counters = assert_accounted(zeek)
    logger.info(
        f"{kind}: resumed {resumed - ready:.2f} s after it began to connect, "
        f"{resumed - second.started:.2f} s after its process did; lag {before_fault:.2f} s before, "
        f"{lag(zeek):.2f} s in all; {counters}"
    )
    assert resumed - ready < RESUME_S
    assert lag(zeek) < before_fault + MOST_LAG_S
    assert counters["shed"] > 0


@pytest.mark.parametrize("kind", by_default("broker"))
def test_zeek_is_restarted(kind: str, tmp_path: Path) -> None:
    config, script = meet(kind, tmp_path)
    with Echo(tmp_path, config) as sensor:
        with start(tmp_path, script) as first:
            wait_for(lambda: len(first.verdicts) > RATE)
            first.process.kill()
        with start(tmp_path, script) as second:
            resumed = wait_for(lambda: second.verdicts) - second.started
            wait_for(lambda: len(second.verdicts) > RATE)
            assert second.end() == 0
            counters = assert_accounted(second)
        totals = sensor.end()
    logger.info(f"{kind}: first verdict after {resumed:.2f} s, {counters}, {totals}")
    assert totals["judged"] >= len(first.verdicts) + len(second.verdicts)


@pytest.mark.parametrize("kind", by_default("websocket"))
def test_a_sensor_is_stopped(kind: str, tmp_path: Path) -> None:
    stop(kind, tmp_path, 6.0)


@pytest.mark.long
@pytest.mark.parametrize("kind", TRANSPORTS)
def test_a_sensor_is_stopped_for_long(kind: str, tmp_path: Path) -> None:
    stop(kind, tmp_path, 30.0)


def stop(kind: str, folder: Path, seconds: float) -> None:
    config, script = meet(kind, folder)
    with script.open("a") as more:
        more.write(ANSWERS)
    other = OnBroker(config.broker.peers[0]) if kind == "broker" else OnProxy(folder)
    with start(folder, script) as zeek, Echo(folder, config) as sensor:
        wait_for(lambda: len(zeek.verdicts) > RATE)
        with other:
            undisturbed = watch(zeek, other, 2.0)[1]
            before_fault = lag(zeek)
            os.kill(sensor.process.pid, signal.SIGSTOP)
            time.sleep(2.5)  # until the queue is full
            memory, delays = watch(zeek, other, seconds - 2.5)
        before = len(zeek.verdicts)
        os.kill(sensor.process.pid, signal.SIGCONT)
        continued = time.monotonic()
        resumed = wait_for(lambda: len(zeek.verdicts) > before) - continued
        wait_for(lambda: len(zeek.verdicts) > before + 2 * RATE)
        assert zeek.end() == 0
        counters = assert_accounted(zeek)
    logger.info(
        f"{kind}: memory {memory[0]:.1f} to {max(memory):.1f} MB, delay at most "
        f"{max(undisturbed) * 1000:.1f} ms before, {max(delays) * 1000:.1f} ms while stopped "
        f"(99.9 %: {np.quantile(delays, 0.999) * 1000:.1f} ms), "
        f"resumed after {resumed:.2f} s, lag {before_fault:.2f} s before, {lag(zeek):.2f} s in "
        f"all; {counters}"
    )
    assert max(memory) - memory[0] < 10.0
    assert max(delays) < max(undisturbed) + MOST_DELAY_S
    assert resumed < RESUME_S
    assert lag(zeek) < before_fault + MOST_LAG_S
    assert counters["shed"] > 0


def watch(zeek: Zeek, other: Bystander, seconds: float) -> tuple[list[float], list[float]]:
    """Return Zeek's memory, and the delays of others on its bus, for a while."""
    memory, first = [rss(zeek)], len(other.delays)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        memory.append(rss(zeek))
        time.sleep(0.2)
    return memory, other.delays[first:]


def rss(zeek: Zeek) -> float:
    """Return the resident memory of a process in MB."""
    fields = Path(f"/proc/{zeek.process.pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
