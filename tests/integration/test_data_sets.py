"""The labelled data as tasks see it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.training.manifest import read_manifest
from mtc_sensor.training.splits import group_keys, honest, leave_out, signatures
from mtc_sensor.training.store import Store
from mtc_sensor.training.tasks import TASKS, load
from tests.unit.training.labelled import flows

pytestmark = pytest.mark.data

NAMED = ("ustc-20", "ustc-malware", "iscx-vpn", "iscx-joy-applications", "ucdavis", "cnapp")


@pytest.mark.parametrize("name", [*NAMED, "malware", "malicious", "categories"])
def test_every_label_is_in_the_manifest_and_every_file_has_one(name: str, data: Path) -> None:
    task, batch = TASKS[name], flows([[60] * 10])
    manifest = read_manifest(data)
    found = [int(task.label(source, batch)[0]) for source in task.sources(manifest)]
    assert set(found) - {-1} == set(range(len(task.labels)))
    if name in NAMED:
        assert -1 not in found


@pytest.mark.slow
def test_all_that_is_not_a_capture_is_read(data: Path, tmp_path: Path) -> None:
    sets = ["ode-flow", "frenky-tls", "xidian-tf", "ucdavis-quic", "strato-zeek"]
    manifest, store = read_manifest(data, sets), Store(tmp_path, FlowSettings(min_packets=1))
    built = store.build(manifest)
    assert not built.damaged
    assert len(built.left_out) == 26
    ode = load(TASKS["ode"], manifest, store)
    sizes = np.load(data / "ode-flow" / "x_train.npy")[:, 0]
    assert len(np.unique(ode.flows.uid)) == (sizes > 0).any(axis=1).sum() > 12_800
    assert len(load(TASKS["zeek-logs"], manifest, store)) > 20_000
    assert np.bincount(load(TASKS["xidian"], manifest, store).label).tolist() == [5600, 5506]
    assert np.bincount(load(TASKS["certificates"], manifest, store).label).tolist() == [2588, 1331]
    quic = load(TASKS["ucdavis"], manifest, store)
    assert np.bincount(quic.label).tolist() == [400, 400, 355, 400, 400]
    split = honest(quic, same=("sizes",))
    known = set(signatures(quic.flows.take(split.train), "sizes"))
    assert known.isdisjoint(signatures(quic.flows.take(split.val), "sizes"))


@pytest.mark.slow
def test_families_and_publishers_are_left_out_together(data: Path, tmp_path: Path) -> None:
    whole = read_manifest(data, ["malware", "benign"])
    known = ("dridex", "jaff", "locky", "emotet", "trickbot", "dns", "http", "quic")
    few = tuple(s for s in whole.sources if s.family in known or s.source != "ntop/nDPI")
    few = tuple(s for s in few if s.set == "benign" or s.family in known)
    manifest = type(whole)(whole.root, few, whole.sha256)
    labelled = load(TASKS["malicious"], manifest, Store(tmp_path))
    malicious = labelled.label == 1
    key = np.where(malicious, group_keys(labelled, "family"), group_keys(labelled, "source"))
    seen: list[str] = []
    for left, split in leave_out(labelled, malicious, "family"):
        assert not np.isin(key[split.train], left).any()
        assert np.isin(key[split.val], left).all()
        assert set(malicious[split.val]) == {False, True}
        seen += left
    assert sorted(seen) == sorted(set(key.tolist()))
