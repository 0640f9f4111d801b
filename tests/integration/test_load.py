"""The sensor when too much comes, when parts of it fail, and when the bus comes and goes.

Each time every sample is accounted for: sampled = judged + shed + lost + in flight.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mtc_sensor.batching import Batcher
from mtc_sensor.config import BatchConfig, OverloadConfig, SensorConfig
from mtc_sensor.judging import SampleJudge
from mtc_sensor.measures import Measures
from mtc_sensor.sensor import Judge, Sensor
from mtc_sensor.service import Service
from mtc_sensor.streams import Streams, Totals
from mtc_sensor.transports.base import Inbox
from mtc_sensor.transports.zeromq import ZeroMQ
from mtc_sensor.wire import topics
from mtc_sensor.wire.events import Verdict
from mtc_sensor.wire.records import Records
from tests.integration.exporter import Exporter, ZeroMQBus
from tests.integration.test_run import at, sensor, wait_for
from tests.integration.test_transports import judge, running, samples
from tests.unit.test_judging import Failing, models, paths
from tests.unit.wire.build import sample

__all__ = ["paths"]
TIMEOUT_S = 60.0


@contextmanager
def judging(
    folder: Path, exporters: Sequence[Exporter], judge: Judge, batcher: Batcher, measures: Measures
) -> Iterator[Sensor]:
    """A sensor in this process, on a bus with exporters; its accounts are watched."""
    inbox = Inbox()
    names = [topics.samples_of(0), topics.statuses_of(0)]
    with ZeroMQBus(exporters, folder) as bus:
        transport = ZeroMQ(inbox, names, bus.xpub, bus.xsub)
        with running(transport, inbox, judge, batcher, measures) as sensor:
            yield sensor


def slowly(seconds: float) -> Judge:
    """A judge that takes so long for each sample."""

    def slow(parts: Sequence[Records], strain: float) -> Iterator[list[list[Verdict]]]:
        time.sleep(seconds * sum(map(len, parts)))
        return judge(parts)

    return slow


@pytest.mark.parametrize("policy", ["newest", "oldest", "early-first"])
def test_what_is_too_much_is_shed_counted_and_acked(tmp_path: Path, policy: str) -> None:
    exporter, measures = Exporter(samples(1000)), Measures()
    marks = OverloadConfig.model_validate({"skip_at": 50, "shed_at": 100, "policy": policy})
    batcher = Batcher(BatchConfig(size=50), marks)
    with judging(tmp_path, [exporter], slowly(0.002), batcher, measures) as running:
        while not exporter.done.wait(0.01):
            state = measures.read().nodes.get("zeek", Totals())
            assert state.sampled <= 1000
            assert min(state.judged, state.shed, state.lost, state.in_flight) >= 0
        totals = running.totals
    assert totals.sampled == 1000
    assert totals.judged + totals.shed == 1000
    assert min(totals.judged, totals.shed) > 100
    assert measures.read().shed == {policy: totals.shed}
    assert len({verdict.seq for verdict in exporter.verdicts}) == totals.judged
    assert exporter.acked == 1000


def test_a_model_that_raises_ends_nothing(
    tmp_path: Path, paths: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    exporter, measures = Exporter([sample(heads=8, seq=i) for i in range(500)]), Measures()
    asked = SampleJudge("s1", models(paths, (Failing, Failing)), measures=measures)
    with (
        caplog.at_level(logging.ERROR),
        judging(tmp_path, [exporter], asked, Batcher(), measures) as running,
    ):
        assert exporter.done.wait(TIMEOUT_S)
        assert running.totals == Totals(judged=500)
    assert measures.read().shed == {"failed:byte_matrix": 500, "failed:flowpic": 500}
    assert len(caplog.records) == 2


def test_the_bus_comes_and_goes(tmp_path: Path) -> None:
    come_and_go(tmp_path, 5)


@pytest.mark.long
def test_the_bus_comes_and_goes_often(tmp_path: Path) -> None:
    come_and_go(tmp_path, 20)


def come_and_go(folder: Path, cuts: int) -> None:
    """Cut the bus at random; everything is judged in the end, and nothing counts twice."""
    rng, count, inbox = random.Random(cuts), 400 * cuts, Inbox()
    exporter = Exporter(samples(count))
    names = [topics.samples_of(0), topics.statuses_of(0)]
    bus = ZeroMQBus([exporter], folder).__enter__()
    transport = ZeroMQ(inbox, names, bus.xpub, bus.xsub)
    running = Sensor(Streams("s1", [0]), transport, inbox, slowly(0.001), Batcher())
    ends = threading.Event()
    thread = threading.Thread(target=running.run, args=(ends.is_set,))
    thread.start()
    try:
        for cut in range(cuts):
            wanted = count * (cut + rng.random()) // (cuts + 1)
            wait_for(lambda wanted=wanted: running.totals.judged >= wanted)  # type: ignore[misc]
            bus.close()
            time.sleep(rng.random() * 0.2)
            bus = ZeroMQBus([exporter], folder).__enter__()
            totals = running.totals
            assert min(totals.judged, totals.lost, totals.in_flight) >= 0
        assert exporter.done.wait(TIMEOUT_S)
    finally:
        ends.set()
        thread.join(TIMEOUT_S)
        bus.close()
    assert running.totals == Totals(judged=count)
    assert {verdict.seq for verdict in exporter.verdicts} == set(range(1, count + 1))


def test_a_full_disk_under_the_verdicts_is_counted_and_logged_once(
    tmp_path: Path, paths: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    exporter, ends = Exporter([sample(heads=8, seq=i) for i in range(600)]), threading.Event()
    with ZeroMQBus([exporter], tmp_path) as bus, caplog.at_level(logging.INFO, "mtc_sensor"):
        config = SensorConfig(
            models=[str(paths[1])], verdicts=Path("/dev/full"), transport=at(bus), device="cpu"
        )
        thread = threading.Thread(target=Service(config).run, args=(ends.is_set,))
        thread.start()
        assert exporter.done.wait(TIMEOUT_S)
        ends.set()
        thread.join(TIMEOUT_S)
    assert not thread.is_alive()
    assert len(exporter.verdicts) == 600
    (error,) = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert error.startswith("/dev/full: cannot write: No space left on device")
    stopped: Any = caplog.records[-1]
    assert stopped.fields["judged"] == 600
    assert stopped.fields["dropped"]["verdicts_not_in_file"] == 600


@pytest.mark.slow
def test_a_killed_worker_is_started_again_and_every_sample_is_judged(
    tmp_path: Path, paths: list[Path]
) -> None:
    some = [sample(heads=8, seq=i) for i in range(800)]
    exporters = [Exporter(some, f"worker-{shard}", shard=shard) for shard in (0, 1)]
    bus = ZeroMQBus(exporters, tmp_path)
    shared = "shards: [0, 1]\nworkers: 2\nbatch: {size: 20}\n"
    with bus, sensor(tmp_path, at(bus), shared, str(paths[1])) as process:
        lines = read_lines(process)
        wait_for(lambda: min(len(one.verdicts) for one in exporters) > 100)
        (pid,) = [line["pid"] for line in lines if line.get("worker") == 2]
        os.kill(pid, signal.SIGKILL)
        for exporter in exporters:
            assert exporter.done.wait(TIMEOUT_S)
        wait_for(lambda: len(saying(lines, "models")) == 3)  # the new worker too can be told to end
        process.terminate()
        assert process.wait(TIMEOUT_S) == 0
        wait_for(lambda: len(saying(lines, "stopped")) == 2)
    for exporter in exporters:
        assert exporter.acked == 800
        assert {verdict.seq for verdict in exporter.verdicts} == set(range(1, 801))
    assert [line["code"] for line in saying(lines, "worker ended")] == [-9]
    stopped = saying(lines, "stopped")
    assert [(line["shed"], line["lost"], line["in_flight"]) for line in stopped] == [(0, 0, 0)] * 2
    assert max(line["judged"] for line in stopped) == 800


def read_lines(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """Collect what a process says on standard error, line by line, in the background."""
    lines: list[dict[str, Any]] = []

    def follow() -> None:
        lines.extend(map(json.loads, process.stderr or ()))

    threading.Thread(target=follow, daemon=True).start()
    return lines


def saying(lines: Sequence[dict[str, Any]], message: str) -> list[dict[str, Any]]:
    return [line for line in list(lines) if line["message"] == message]
