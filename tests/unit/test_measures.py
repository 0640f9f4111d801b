from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mtc_sensor.measures import SECONDS, SIZES, Histogram, Measures
from mtc_sensor.streams import Totals


@given(arrays.arrays(np.float64, st.integers(0, 50), elements=st.floats(-1, 1e6)))
def test_one_by_one_and_together_are_binned_the_same(values: np.ndarray) -> None:
    singly, together = Histogram(SECONDS), Histogram(SECONDS)
    for value in values.tolist():
        singly.add(value)
    together.add_all(values)
    one, other = singly.read(), together.read()
    assert one.counts.tolist() == other.counts.tolist()
    assert one.total == pytest.approx(other.total)
    assert one.counts.sum() == len(values)


def test_edges_belong_to_the_bin_below() -> None:
    histogram = Histogram(SIZES)
    for value in (1, 1.5, 2, 1024, 1025):
        histogram.add(value)
    counts = histogram.read().counts.tolist()
    assert counts == [1, 2, *[0] * 8, 1, 1]


def test_times_are_binned_from_10_us_to_two_minutes() -> None:
    ratios = np.divide(SECONDS[1:], SECONDS[:-1])
    assert SECONDS[0] == 1e-5
    assert 100 < SECONDS[-1] < 150
    assert ratios == pytest.approx(np.full(len(SECONDS) - 1, 2**0.5))


def test_what_was_written_is_read() -> None:
    clock = iter([0.0, 5.0, 7.5])
    measures = Measures(lambda: next(clock))
    measures.stage("infer", 0.01)
    measures.stage("infer", 0.02)
    measures.batch("m", 256)
    measures.judged(np.array([0.1, 0.2]), np.array([0.5, 0.5]))
    measures.verdict("m", "benign", 3)
    measures.verdict("m", "benign")
    measures.shed("newest", 2)
    measures.queue("pending", 5)
    measures.queue("pending", 4)
    measures.models({"old": "1"})
    measures.models({"m": "2"})
    nodes = {"worker-1": Totals(1, 2, 3, 4)}
    measures.state(nodes, {"stale": 1}, connected=True)
    reading = measures.read()
    assert reading.stages["infer"].counts.sum() == 2
    assert reading.stages["infer"].total == pytest.approx(0.03)
    assert reading.batches["m"].total == 256
    assert reading.wait.total == pytest.approx(0.3)
    assert reading.added.total == 1.0
    assert reading.verdicts == {("m", "benign"): 4}
    assert reading.shed == {"newest": 2}
    assert reading.queues == {"pending": 4}
    assert reading.versions == {"m": "2"}
    assert (reading.nodes, reading.dropped, reading.connected) == (nodes, {"stale": 1}, True)
    assert reading.idle_s == 2.5


def test_a_reading_does_not_change() -> None:
    measures = Measures()
    measures.stage("infer", 0.01)
    measures.verdict("m", "benign")
    before = measures.read()
    measures.stage("infer", 0.01)
    measures.stage("decode", 0.01)
    measures.verdict("m", "benign")
    measures.queue("inbox", 1)
    assert before.stages["infer"].counts.sum() == 1
    assert list(before.stages) == ["infer"]
    assert before.verdicts == {("m", "benign"): 1}
    assert before.queues == {}


def test_it_is_read_while_names_are_added() -> None:
    measures = Measures()
    ends = threading.Event()

    def write() -> None:
        for number in range(20_000):
            measures.stage(f"stage-{number % 5000}", 0.0)
            measures.verdict("m", f"label-{number % 5000}")
        ends.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not ends.is_set():
        reading = measures.read()
        assert sum(reading.verdicts.values()) <= 20_000
    thread.join()
    assert sum(measures.read().verdicts.values()) == 20_000
