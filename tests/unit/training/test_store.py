from pathlib import Path

import numpy as np
import pytest

from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.capture.records import CaptureFile
from mtc_sensor.errors import DataError
from mtc_sensor.flow import FlowBatch
from mtc_sensor.training.manifest import Manifest
from mtc_sensor.training.store import Store
from tests.unit.training.captures import capture, manifest_of


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    capture(tmp_path / "a.pcap", flows=2)
    capture(tmp_path / "b.pcap", flows=3, packets=5)
    return manifest_of(tmp_path, [("b.pcap", "x", ""), ("a.pcap", "y", "")])


def test_records_are_those_of_the_captures(manifest: Manifest, tmp_path: Path) -> None:
    records = Store(tmp_path / "store").records(manifest)
    assert records.source.tolist() == [0, 0, 0, 1, 1]
    assert records.sources == manifest.sources
    direct = FlowBatch.concat(
        [batch for name in ("b.pcap", "a.pcap") for batch in CaptureFile(tmp_path / name)]
    )
    for column in ("samples", "head", "orig_p", "start_us", "kind", "sample_offsets"):
        assert np.array_equal(getattr(records.flows, column), getattr(direct, column))


def test_files_are_read_once(manifest: Manifest, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first, again = store.build(manifest), store.build(manifest)
    assert (first.files, first.cached, first.records) == (2, 0, 5)
    assert (again.files, again.cached, again.records) == (2, 2, 5)
    capture(tmp_path / "a.pcap", flows=4)
    assert (changed := store.build(manifest)).cached == 1
    assert changed.records == 7


def test_moving_a_file_does_not_matter_but_settings_do(manifest: Manifest, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.build(manifest)
    (tmp_path / "a.pcap").rename(tmp_path / "c.pcap")
    moved = manifest_of(tmp_path, [("c.pcap", "z", ""), ("c.pcap", "twice", "")])
    assert (store.build(moved).cached, store.build(moved).records) == (2, 4)
    other = Store(tmp_path / "store", FlowSettings(min_packets=5))
    assert (other.build(moved).cached, other.build(moved).records) == (0, 0)


def test_workers_give_the_same(manifest: Manifest, tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    one = Store(tmp_path / "one").records(manifest)
    two = Store(tmp_path / "two").records(
        manifest, workers=2, progress=lambda *step: seen.append(step)
    )
    assert np.array_equal(one.flows.samples, two.flows.samples)
    assert np.array_equal(one.source, two.source)
    assert [step[:2] for step in seen] == [(1, 2), (2, 2)]
    assert {step[2] for step in seen} == {"a.pcap", "b.pcap"}


def test_damage_is_named_and_what_came_before_is_used(manifest: Manifest, tmp_path: Path) -> None:
    whole = (tmp_path / "b.pcap").read_bytes()
    (tmp_path / "b.pcap").write_bytes(whole[:-10])
    (tmp_path / "a.pcap").write_bytes(b"nonsense")
    store = Store(tmp_path / "store")
    for _ in range(2):  # also from the store
        built = store.build(manifest)
        assert (built.files, built.records) == (2, 3)
        assert "ends inside a record" in built.damaged["b.pcap"]
        assert "not a capture" in built.damaged["a.pcap"]
    assert set(store.records(manifest).damaged) == {"a.pcap", "b.pcap"}


def test_a_damaged_file_is_named_as_it_is_called_now(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_bytes(b"nonsense")
    store = Store(tmp_path / "store")
    store.build(manifest)
    (tmp_path / "a.pcap").rename(tmp_path / "c.pcap")
    built = store.build(manifest_of(tmp_path, [("c.pcap", "x", "")]))
    assert built.cached == 1
    assert built.damaged["c.pcap"].startswith(f"{tmp_path / 'c.pcap'}: byte 0: not a capture")


def test_a_missing_file_is_named(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "a.pcap").unlink()
    store = Store(tmp_path / "store")
    assert "a.pcap: cannot be read: No such file" in store.build(manifest).damaged["a.pcap"]
    assert len(store.records(manifest).flows) == 3


def test_a_damaged_store_mends_itself(manifest: Manifest, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    before = store.records(manifest)
    for broken in sorted((tmp_path / "store").iterdir()):
        broken.write_bytes(broken.read_bytes()[:-30])
        after = store.records(manifest)
        assert np.array_equal(after.flows.samples, before.flows.samples)
        assert broken.stat().st_size > 30


def test_large_captures_are_kept_in_parts(manifest: Manifest, tmp_path: Path) -> None:
    small = Store(tmp_path / "small", part_bytes=1)
    small.build(manifest)
    assert len(list((tmp_path / "small").glob("*.npz"))) >= 2
    whole = Store(tmp_path / "whole").records(manifest)
    assert np.array_equal(small.records(manifest).flows.samples, whole.flows.samples)


def test_labels_in_the_file_make_a_source_each(tmp_path: Path) -> None:
    x = np.zeros((3, 2, 20))
    x[:, 0, :4] = 60
    np.save(tmp_path / "x_train.npy", x)
    np.save(tmp_path / "y_train.npy", np.array([2, 0, 2]))
    made = manifest_of(tmp_path, [("x_train.npy", "many", ""), ("y_train.npy", "many", "")])
    store = Store(tmp_path / "store")
    records = store.records(made)
    assert [source.label for source in records.sources] == ["0", "2"]
    assert records.source.tolist() == [0, 1, 1]
    assert records.flows.uid.tolist() == [b"F1", b"F0", b"F2"]
    assert store.build(made).left_out == ["y_train.npy"]
    np.save(tmp_path / "y_train.npy", np.array([1, 1, 1]))
    assert [source.label for source in store.records(made).sources] == ["1"]


def test_a_folder_that_cannot_be_written(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(DataError, match=r"store: cannot be written: .*: choose another"):
        Store(tmp_path / "store").build(manifest)
