from pathlib import Path

import numpy as np
import pytest

from mtc_sensor.errors import DataError
from mtc_sensor.training import tasks
from mtc_sensor.training.manifest import Manifest, Source
from mtc_sensor.training.store import Store
from mtc_sensor.training.tasks import TASKS, Task, load, task_named, task_of_column
from tests.unit.training.captures import capture, manifest_of
from tests.unit.training.labelled import flows


def source(set_: str, label: str = "benign", family: str = "x", path: str = "x") -> Source:
    return Source(path, label, set_, family)


@pytest.mark.parametrize(
    ("where", "label"),
    [
        (source("malware", "malware", "cerber"), "cerber"),
        (source("malware", "malware", "rig-ek"), "exploit-kit"),
        (source("malware", "malware", "emotet"), "other-malware"),
        (source("malware", "malware", "zerologon"), None),
        (source("benign", "benign", "scanner"), "benign"),
        (source("ustc-tfc2016", "malware", "Zeus"), "other-malware"),
        (source("ustc-tfc2016", "benign", "Gmail"), "benign"),
        (source("iscx-vpn", "vpn_chat", "chat"), "benign"),
        (source("mine", "Malicious", "zerologon"), "other-malware"),
    ],
)
def test_malware_labels(where: Source, label: str | None) -> None:
    assert tasks.malware_label(where) == label


@pytest.mark.parametrize("label", ["malware", "Malicious", "botnet_c2", "ddos-attack"])
def test_what_is_malicious(label: str) -> None:
    assert tasks.is_malicious(Source("x", label))


@pytest.mark.parametrize("label", ["benign", "normal", "background", "attackers-anonymous", ""])
def test_everything_else_is_benign(label: str) -> None:
    assert not tasks.is_malicious(Source("x", label))


@pytest.mark.parametrize(
    ("where", "label"),
    [
        (source("iscx-joy", "novpn_email"), "messaging"),
        (source("iscx-joy", "vpn_skype_files"), "file"),
        (source("iscx-joy", "novpn_hangouts_audio"), "voip"),
        (source("ucdavis-quic", "youtube"), "streaming"),
        (source("benign", family="zoom"), "voip"),
        (source("benign", family="dns"), "other"),
        (source("benign", family="something-else"), None),
        (source("malware", family="zoom"), None),
    ],
)
def test_categories(where: Source, label: str | None) -> None:
    assert tasks.category(where) == label


def labels(task: Task, where: Source, ports: list[int]) -> list[int]:
    batch = flows([[60] * 10] * len(ports))
    batch.resp_p[:] = ports
    return list(task.label(where, batch))


def test_background_of_malware_captures_is_left_out() -> None:
    malware = TASKS["malicious"]
    assert labels(malware, source("malware", "malware"), [443, 53]) == [1, -1]
    assert labels(malware, source("mine", "malware"), [443, 53]) == [1, 1]
    assert labels(malware, source("benign"), [443, 53]) == [0, 0]


def test_small_records_have_no_category() -> None:
    batch = flows([[60] * 9, [60] * 10])
    assert TASKS["categories"].label(source("benign", family="zoom"), batch).tolist() == [-1, 4]


def manifest(*sources: Source) -> Manifest:
    return Manifest(Path("data"), sources, "")


def test_detection_takes_any_manifest() -> None:
    mine, known = source("mine", "malware"), source("malware", "malware")
    assert TASKS["malicious"].sources(manifest(mine)) == (mine,)
    assert TASKS["malicious"].sources(manifest(mine, known)) == (known,)
    with pytest.raises(DataError, match="task ode is about the sets ode-flow, which the manifest"):
        TASKS["ode"].sources(manifest(mine))


def test_a_column_is_a_task() -> None:
    files = manifest(source("", "attack", "zeus"), source("", "normal", "web"), source("", "ok"))
    by_label, by_family = task_of_column("label", files.sources), task_named("family", files)
    assert (by_label.labels, by_label.malicious) == (("attack", "normal", "ok"), ("attack",))
    assert (by_family.labels, by_family.malicious) == (("web", "x", "zeus"), ("zeus",))
    assert labels(by_family, files.sources[0], [443]) == [2]
    assert labels(by_family, source("", family="new"), [443]) == [-1]
    assert by_family.is_malicious(np.array([0, 2])).tolist() == [False, True]
    with pytest.raises(DataError, match="task 'x' is unknown: it is label, family, or one of mal"):
        task_named("x", files)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_tasks_are_consistent(task: Task) -> None:
    assert len(set(task.labels)) == len(task.labels) > 1
    assert set(task.malicious) <= set(task.labels)
    assert task.sets


def test_records_are_loaded_with_their_labels(tmp_path: Path) -> None:
    capture(tmp_path / "a.pcap", flows=2)
    capture(tmp_path / "b.pcap", flows=3)
    made = manifest_of(tmp_path, [("a.pcap", "benign", ""), ("b.pcap", "malware", "zeus")])
    loaded = load(TASKS["malicious"], made, Store(tmp_path / "store"))
    assert loaded.label.tolist() == [0, 0, 1, 1, 1]
    assert loaded.of(lambda s: s.family).tolist() == ["", "", "zeus", "zeus", "zeus"]
    assert len(loaded.take(loaded.label == 1).flows) == 3
    with pytest.raises(DataError, match="task family: none of 5 records has one of the labels"):
        load(task_of_column("family", [source("", family="y")]), made, Store(tmp_path / "s"))
