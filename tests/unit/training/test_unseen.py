"""Detectors asked about families and publishers that they were not trained on."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mtc_sensor.cli import run
from mtc_sensor.errors import ConfigError
from mtc_sensor.training.manifest import Manifest, read_manifest
from mtc_sensor.training.session import Session
from mtc_sensor.training.unseen import ask_unseen

from .corpus import alone, recipe, write_corpus, write_recipe

TREE: dict[str, Any] = {"network": {"name": "decision-tree", "args": {}}}
SUM: dict[str, Any] = TREE | {
    "name": "sum", "network": {"name": "fusion"}, "input": None, "members": ["bytes", "said"],
    "equal": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Every capture is of a family and a publisher of its own."""
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, flows=4)
    first, *lines = (folder / "manifest.csv").read_text().splitlines()
    rows = [line.split(",") for line in lines]
    lines = [f"{path},{label},{label}-{path},{path},{split}" for path, label, *_, split in rows]
    (folder / "manifest.csv").write_text("\n".join([first, *lines]) + "\n")
    return read_manifest(folder)


def session(manifest: Manifest, tmp_path: Path) -> Session:
    return Session(manifest, tmp_path / "store", alone())


def test_every_record_is_asked_about_by_a_model_that_has_not_seen_its_like(
    manifest: Manifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    file = write_recipe(tmp_path / "small.yaml", **TREE)
    command = ["train", str(file), "--data", str(manifest.root), "--unseen", "family", "--json"]
    assert run([*command, "--out", str(out), "--store", str(tmp_path / "store")]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows == json.loads((out / "unseen.json").read_text())
    assert [row["fold"] for row in rows] == ["1", "2", "3", "4", "5", "all"]
    left = [name for row in rows[:-1] for name in row["left_out"].split(", ")]
    assert len(left) == len(set(left)) == 12
    assert (rows[-1]["benign"], rows[-1]["malicious"]) == (24, 24)
    assert sum(row["malicious"] for row in rows[:-1]) == 24
    assert rows[-1]["model_auroc"] > 0.9
    assert 0 <= rows[-1]["nearest_neighbour_tpr@0.001"] <= 1
    assert (out / "unseen.md").read_text().startswith("| fold | benign |")


def test_what_is_left_out_does_not_choose_the_epoch(manifest: Manifest, tmp_path: Path) -> None:
    epochs: list[int] = []
    here = replace(session(manifest, tmp_path), told=lambda epoch, *_: epochs.append(epoch))
    ask_unseen(recipe(epochs=8, patience=1), (), here, "family", tmp_path)
    assert epochs == [*range(1, 9)] * 5


def test_members_of_a_fusion_are_trained_without_what_is_left_out(
    manifest: Manifest, tmp_path: Path
) -> None:
    members = [
        recipe(**TREE | {"name": "bytes"}),
        recipe(**TREE | {"name": "said", "input": {"kind": "payload"}}),
    ]
    asked = ask_unseen(recipe(**SUM), members, session(manifest, tmp_path), "source", tmp_path)
    assert asked.rows[-1]["malicious"] == 24
    assert (tmp_path / "fold-5" / "said" / "bundle.yaml").is_file()


def test_what_cannot_be_asked_so_is_refused(manifest: Manifest, tmp_path: Path) -> None:
    members = [recipe(**TREE | {"name": "bytes"}), recipe(**TREE | {"name": "said"})]
    here = session(manifest, tmp_path)
    with pytest.raises(ConfigError, match="equal"):
        ask_unseen(recipe(**SUM | {"equal": False}), members, here, "family", tmp_path)
    strange = members[1].model_copy(update={"task": "malware"})
    with pytest.raises(ConfigError, match="said is of another task"):
        ask_unseen(recipe(**SUM), [members[0], strange], here, "family", tmp_path)
