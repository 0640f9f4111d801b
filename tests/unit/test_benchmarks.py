"""What the benchmarks of the sensor rely on; a run of one of them with its accounts."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mtc_sensor.wire import binary_events, broker_bin, events
from mtc_sensor.wire.events import Verdict, VerdictBatch
from mtc_sensor.wire.records import Records
from mtc_sensor.wire.sample import Sample
from tests.unit.wire.build import assert_equal_records, records_of

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


@pytest.fixture
def samples(modules: Any) -> list[Sample]:
    found: list[Sample] = modules("recorded").record(ROOT / "samples" / "demo.pcap", 50)
    return found


def test_recorded_samples_are_numbered_on_the_wire(modules: Any, samples: list[Sample]) -> None:
    payloads = modules("recorded").Payloads(samples)
    for shard, seq in ((0, 1), (7, 50), (4095, 51), (0, 2**40)):
        decoded = binary_events.decode(payloads.of(shard, seq, 3))
        assert isinstance(decoded, Records)
        expected = [
            replace(samples[number % len(samples)], shard=shard, seq=number)
            for number in range(seq, seq + 3)
        ]
        assert_equal_records(decoded, records_of(expected))


@pytest.mark.parametrize("seq", [1, 255, 0x0202_0202_0202_0202])
def test_the_numbers_of_encoded_verdicts(modules: Any, samples: list[Sample], seq: int) -> None:
    s = samples[0]
    verdict = Verdict(
        "sensor", s.run, s.node, 3, seq, s.uid, s.kind, "byte-cnn", "benign", 0.5, 0, "",
    )  # fmt: skip
    other = replace(verdict, seq=7, model="flowpic", label="x" * 130, detail="y" * 300)
    numbered = modules("exporter").numbered
    for count in (1, 64):
        batch = VerdictBatch((verdict, other) * count)
        assert numbered(binary_events.encode(batch)) == (3, [seq, 7] * count)
        assert numbered(broker_bin.encode_event(events.encode(batch))) == (3, [seq, 7] * count)


@pytest.mark.long
def test_the_sensor_is_measured_and_every_sample_accounted_for() -> None:
    command = [sys.executable, str(BENCHMARKS / "sensor_rate.py"), "--models", "byte-cnn"]
    command += ["--overload", "--rate", "2000", "--seconds", "10"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "0 unaccounted for" in done.stdout


@pytest.mark.long
def test_ten_minutes_of_load_leave_memory_threads_and_files_as_they_were() -> None:
    command = [sys.executable, str(BENCHMARKS / "sensor_rate.py"), "--models", "byte-cnn"]
    command += ["flowpic", "--soak", "--rate", "2000", "--seconds", "600"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    grown = re.search(r"two: ([+-][\d.]+)%; threads ([+-]\d+), files ([+-]\d+)", done.stdout)
    assert grown is not None
    memory, threads, files = map(float, grown.groups())
    assert (memory <= 5.0, threads, files) == (True, 0, 0), done.stdout
    assert "; 0 unaccounted for" in done.stdout
