"""`mtc-sensor dataset` as a user meets it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.cli import run
from mtc_sensor.cli.labelled import read_labelled
from mtc_sensor.flow import Kind
from mtc_sensor.inference import load_models
from mtc_sensor.training.manifest import read_manifest
from mtc_sensor.training.store import Store
from tests.conftest import SAMPLE
from tests.unit.training.captures import capture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, (label, size) in enumerate([("web", 10), ("web", 20), ("attack", 30)]):
        capture(tmp_path / f"{number}.pcap", flows=12, payload=b"x" * size)
        with (tmp_path / "manifest.csv").open("a") as file:
            file.write("" if number else "path,label,split\n")
            file.write(f"{number}.pcap,{label},{'val' if number == 1 else 'train'}\n")
    return tmp_path


def test_build_and_build_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["dataset", "build", str(folder), "--out", str(folder / "store")]
    assert run(arguments) == 0
    assert capsys.readouterr().out.strip() == (
        f"{folder / 'store'}: 36 records of 3 files, 0 of them read before"
    )
    assert run([*arguments, "--json"]) == 0
    built = json.loads(capsys.readouterr().out)
    assert (built["files"], built["cached"], built["records"]) == (3, 3, 36)


def test_damage_is_an_error_at_the_end(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "0.pcap").write_bytes(b"nonsense")
    (folder / "1.pcap").unlink()
    assert run(["dataset", "build", str(folder), "--store", str(folder / "store")]) == 1
    shown = capsys.readouterr()
    assert "12 records of 2 files" in shown.out
    assert f"mtc-sensor: {folder / '0.pcap'}: byte 0: not a capture" in shown.err
    assert f"mtc-sensor: {folder / '1.pcap'}: cannot be read: No such file" in shown.err


def test_show(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["dataset", "show", str(folder), "--store", str(folder / "store")]
    assert run(arguments) == 0
    shown = capsys.readouterr().out
    assert "task label: 36 records of 3 captures" in shown
    assert "attack  malicious         1     12    0" in shown
    assert run([*arguments, "--json", "--task", "malicious"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["label"] for one in found["classes"]] == ["benign", "malicious"]
    assert found["duplicates"]["sizes"] == {"repeats": 33, "across": 0, "contradicting": 0}
    assert found["captures"] == {"0.pcap": 12, "1.pcap": 12, "2.pcap": 12}
    assert len(found["manifest_sha256"]) == 64


def test_a_task_that_the_manifest_has_not(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["dataset", "show", str(folder), "--store", str(folder / "store")]
    assert run([*arguments, "--task", "ucdavis"]) == 1
    assert "task ucdavis is about the sets ucdavis-quic" in capsys.readouterr().err


def test_labels_that_files_themselves_have_are_read_for_a_model(tmp_path: Path) -> None:
    sizes = np.zeros((40, 2, 30))
    sizes[:, 0] = np.arange(60, 90)
    np.save(tmp_path / "x_train.npy", sizes)
    np.save(tmp_path / "y_train.npy", np.arange(40) % 2)
    (tmp_path / "manifest.csv").write_text("path,label\nx_train.npy,many\ny_train.npy,many\n")
    (model,) = load_models(["flowpic"], "cpu")
    task, labelled = read_labelled(model, tmp_path, tmp_path / "store", "label", 1)
    assert {task.labels[label] for label in labelled.label} == {"0", "1"}


def demo(folder: Path) -> Path:
    (folder / "demo.pcap").symlink_to(SAMPLE)
    (folder / "manifest.csv").write_text("path,label\ndemo.pcap,x\n")
    return folder


@pytest.mark.zeek
def test_zeek_reads_the_same_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["dataset", "build", str(demo(tmp_path)), "--tokens", "--out"]
    assert run([*arguments, str(tmp_path / "zeek"), "--zeek"]) == 0
    assert run([*arguments, str(tmp_path / "ours")]) == 0
    capsys.readouterr()
    manifest, settings = read_manifest(tmp_path), FlowSettings(tokens=True)
    both = [Store(tmp_path / name, settings).records(manifest).flows for name in ("zeek", "ours")]
    keys = [np.lexsort((batch.start_us, batch.kind, batch.orig_p)) for batch in both]
    zeek, ours = (batch.take(key) for batch, key in zip(both, keys, strict=True))
    assert len(ours) > 200
    for column in ("kind", "orig_h", "resp_p", "start_us", "sample_offsets", "samples", "head"):
        assert np.array_equal(getattr(zeek, column), getattr(ours, column)), column
    assert (zeek.kind == Kind.EARLY).any()
    hellos = [word for text in zeek.documents() for word in text.split() if word == "service:ssl"]
    assert hellos
    assert run([*arguments, str(tmp_path / "ours"), "--zeek"]) == 1
    assert "built with another reader of captures ('capture')" in capsys.readouterr().err


@pytest.mark.zeek
def test_what_zeek_cannot_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.pcap").write_bytes(b"nonsense")
    (tmp_path / "manifest.csv").write_text("path,label\na.pcap,x\n")
    assert run(["dataset", "build", str(tmp_path), "--zeek", "--out", str(tmp_path / "s")]) == 1
    assert f"{tmp_path / 'a.pcap'}: zeek ended with code 1 and said" in capsys.readouterr().err


def test_applications_are_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("nfstream")
    store = ["--out", str(tmp_path / "store"), "--json"]
    assert run(["dataset", "build", str(demo(tmp_path)), "--label-apps", *store]) == 0
    built = json.loads(capsys.readouterr().out)
    assert built["records"] == sum(built["labels"].values()) == 308
    assert built["labels"]["TLS"] > 100
    assert built["labels"].get("Unknown", 0) < 10
    assert run(["dataset", "show", str(tmp_path), *store]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {one["label"] for one in found["classes"]} == set(built["labels"])


def test_nfstream_is_named_where_it_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nfstream", None)
    arguments = ["dataset", "build", str(demo(tmp_path)), "--label-apps"]
    assert run([*arguments, "--out", str(tmp_path / "store")]) == 1
    assert "pip install 'mtc-sensor[apps]'" in capsys.readouterr().err
