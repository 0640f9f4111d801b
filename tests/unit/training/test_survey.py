from dataclasses import replace

import numpy as np
import pytest

from mtc_sensor.flow import FlowBatch
from mtc_sensor.training.leaks import header_fields, leaks
from mtc_sensor.training.manifest import Source
from mtc_sensor.training.splits import Split
from mtc_sensor.training.survey import survey
from mtc_sensor.training.tasks import Task, task_of_column
from tests.unit.training.labelled import flows, labelled
from tests.unit.training.test_splits import packet, with_heads

SOURCES = (
    Source("a", "good"),
    Source("b", "good", split="val"),
    Source("c", "malware"),
    Source("d", "malware", split="val"),
)


@pytest.fixture
def task() -> Task:
    return task_of_column("label", SOURCES)


def test_counts(task: Task) -> None:
    batch = flows([[60], [60], [60], [70], [70], [80]])
    found = survey(task, labelled([0, 0, 0, 1, 1, 0], [0, 0, 1, 2, 3, 3], SOURCES, batch))
    good, malware = found.classes
    assert (good.label, good.malicious, good.captures) == ("good", False, 3)
    assert (good.records, good.unique, good.largest) == ({"train": 2, "val": 2}, 2, 0.5)
    assert (malware.malicious, malware.records) == (True, {"train": 1, "val": 1})
    assert found.captures == {"a": 2, "d": 2, "b": 1, "c": 1}
    assert found.duplicates["sizes"] == (3, 2, 0)
    assert found.duplicates["bytes"] == (0, 0, 0)
    assert found.as_json()["duplicates"]["sizes"]["across"] == 2


def test_the_same_input_with_two_labels(task: Task) -> None:
    batch = flows([[60], [60], [70], [60]])
    found = survey(task, labelled([0, 1, 1, 0], [0, 2, 2, 1], SOURCES, batch))
    assert found.duplicates["sizes"] == (2, 1, 3)


def many(count: int) -> FlowBatch:
    """Records of one UDP packet each; every other has another time to live."""
    heads = [packet(64 + 64 * (row % 2), b"x" * (row // 2 % 3)) for row in range(count)]
    return with_heads(flows([[len(head)] for head in heads]), heads)


def test_a_field_that_gives_the_label_away(task: Task) -> None:
    batch, half = many(400), 200
    made = labelled([0, 1] * half, [0] * half + [1] * half, SOURCES, batch)
    found = {leak.field: leak for leak in leaks(made, Split(np.arange(half), np.arange(half, 400)))}
    assert found["time to live"].auroc == 1
    assert found["time to live"].shortcut
    assert found["size of packet 1"].auroc == pytest.approx(0.5, abs=0.1)
    assert not found["size of packet 1"].shortcut
    assert "TCP window" not in found  # there is no TCP
    assert survey(task, made).leaks[0].field == "time to live"


def test_fields_are_those_of_the_headers() -> None:
    hosts = np.zeros((2, 16), np.uint8)
    hosts[0, 10:14] = [255, 255, 10, 1]
    hosts[1, :2] = [0x20, 0x01]
    batch = flows([[34, 1500], [60]], starts=[1_577_836_800_000_000 + 5 * 3_600_000_000, 0])
    batch = replace(with_heads(batch, [packet(63, b"abcdef"), b""]), orig_h=hosts)
    found = header_fields(batch)
    assert found["time to live"][0] == 63
    assert found["IP version"][0] == 4
    assert found["UDP checksum"][0] == 0
    assert np.isnan(found["TCP window"][0])
    assert np.isnan(found["time to live"][1])
    assert found["originator network"].tolist() == [10 * 256 + 1, 0x2001 << 48]
    assert np.isnan(found["responder network"]).all()
    assert found["hour of the day"][0] == 5
    assert np.isnan(found["year"][1])
    assert found["captured share of packets"][0] == 1
    assert found["duration"].tolist() == [1_000_000, 0]
    assert found["packets"].tolist() == [2, 1]


def test_too_few_to_say_what_leaks(task: Task) -> None:
    found = survey(task, labelled([0], [0], SOURCES))
    assert found.leaks == []
    assert "too few" in found.protocol
