"""`mtc-sensor run` beside a real Zeek: signals under load, and how soon it is back."""

from __future__ import annotations

import logging
import signal
import time
from pathlib import Path

import pytest

from tests.integration.test_run import MODEL, end, sensor, terminate_twice, told
from tests.zeek.beside import Zeek, meet, wait_for, write_flows
from tests.zeek.test_faults_live import RESUME_S, assert_accounted

pytestmark = pytest.mark.zeek
logger = logging.getLogger(__name__)
RECORDS = 4000
"""Final ones, each with its flow's first bytes, which the model judges."""
LIVE = ("--pseudo-realtime", "udp_inactivity_timeout=1sec", "MTC::max_queue=500")
START_S = 90.0
"""A sensor loads torch and its models, on a machine that may have other things to do."""


def write(folder: Path) -> Path:
    return write_flows(folder / "flows.pcap", RECORDS, seconds=100, packets=4)


@pytest.mark.slow
def test_a_reload_loses_no_sample(tmp_path: Path) -> None:
    config, script = meet("zeromq", tmp_path)
    with (
        sensor(tmp_path, config) as process,
        Zeek(tmp_path / "zeek", write(tmp_path), script) as zeek,
    ):
        for share in (0.1, 0.4, 0.7):
            wait_for(lambda: len(zeek.verdicts) > share * RECORDS, START_S)  # noqa: B023
            process.send_signal(signal.SIGHUP)
        assert zeek.wait(START_S) == 0
        process.terminate()
        code, log = end(process)
    assert code == 0
    assert told(log) == ["models"] * 4 + ["stopped"]
    account = {"judged": RECORDS, "shed": 0, "lost": 0, "in_flight": 0}
    assert log[-1].items() >= account.items()
    assert len(zeek.verdicts) == len(set(zeek.verdicts)) == RECORDS
    counters = zeek.counters
    assert (counters["last"], counters["acked"], counters["shed"]) == (RECORDS, RECORDS, 0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zeromq", pytest.param("websocket", marks=pytest.mark.long)])
def test_sigterm_judges_what_is_on_the_way(kind: str, tmp_path: Path) -> None:
    config, script = meet(kind, tmp_path)
    with (
        sensor(tmp_path, config) as process,
        Zeek(tmp_path / "zeek", write(tmp_path), script) as zeek,
    ):
        wait_for(lambda: len(zeek.verdicts) > RECORDS // 10, START_S)
        process.terminate()
        code, log = end(process)
        assert zeek.wait() == 0
    assert code == 0
    counters, judged = zeek.counters, log[-1]["judged"]
    assert RECORDS // 10 < len(zeek.verdicts) == judged < RECORDS
    assert (counters["acked"], counters["highest"], counters["unanswered"]) == (judged, judged, 0)
    assert log[-1].items() >= {"lost": 0, "in_flight": 0}.items()


@pytest.mark.slow
def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    config, script = meet("zeromq", tmp_path)
    with (
        sensor(tmp_path, config) as process,
        Zeek(tmp_path / "zeek", write(tmp_path), script) as zeek,
    ):
        wait_for(lambda: len(zeek.verdicts) > RECORDS // 10, START_S)
        terminate_twice(process)
        code, log = end(process)
        assert zeek.wait() == 0
    assert code == -signal.SIGTERM
    assert told(log) == ["models"]
    assert len(zeek.verdicts) == len(set(zeek.verdicts))
    assert zeek.counters["acked"] < RECORDS


@pytest.mark.long
@pytest.mark.parametrize("kind", ["zeromq", "websocket"])
def test_a_restarted_sensor_is_soon_back(kind: str, tmp_path: Path) -> None:
    """What is asserted is generous: the first batch, too, takes what the machine has to spare."""
    config, script = meet(kind, tmp_path)
    # What comes in two seconds fills window and queue: no sensor has loaded its models by then.
    flows = write_flows(tmp_path / "flows.pcap", 400 * 200, seconds=200, packets=4)
    with Zeek(tmp_path / "zeek", flows, script, *LIVE, "MTC::max_queue=100") as zeek:
        with sensor(tmp_path, config) as first:
            wait_for(lambda: len(zeek.verdicts) > 500, START_S)
            first.kill()
            first.wait()
        before, began = len(zeek.verdicts), time.monotonic()
        with sensor(tmp_path, config) as second:
            assert second.stderr is not None
            assert MODEL in second.stderr.readline()
            loaded = time.monotonic()
            resumed = wait_for(lambda: len(zeek.verdicts) > before)
            wait_for(lambda: len(zeek.verdicts) > before + 500)
            assert zeek.end() == 0
            counters = assert_accounted(zeek)
    logger.info(
        f"{kind}: {loaded - began:.2f} s until the models were loaded, then "
        f"{resumed - loaded:.2f} s to the first verdict, {counters}"
    )
    assert resumed - loaded < RESUME_S
    assert counters["shed"] > 0
