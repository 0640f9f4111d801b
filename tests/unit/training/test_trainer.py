"""Bundles trained on small captures, from the recipe to the folder."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from mtc_sensor.cli import run
from mtc_sensor.errors import BundleError, ConfigError, DataError
from mtc_sensor.inference import Model, judge_records
from mtc_sensor.models.bundle import CARD, CONFIG, ONNX, REFERENCE, WEIGHTS, load_bundle, verify
from mtc_sensor.training.data import Data, read_data
from mtc_sensor.training.evaluation import sides
from mtc_sensor.training.manifest import Manifest
from mtc_sensor.training.recipe import Recipe
from mtc_sensor.training.session import Session
from mtc_sensor.training.trainer import Trained, train

from .corpus import alone, recipe, write_corpus, write_recipe

FOREST: dict[str, Any] = {
    "network": {"name": "random-forest", "args": {"n_estimators": 10}},
    "input": {"kind": "sizes"},
    "same": ["sizes"],
}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


class Trains:
    """Trains recipes on the corpus."""

    def __init__(self, manifest: Manifest, store: Path) -> None:
        self.manifest, self.store = manifest, store

    def data(self, chosen: Recipe, out: Path) -> Data:
        return read_data(chosen, self.manifest, self.store, out)

    def __call__(self, chosen: Recipe, out: Path, **how: Any) -> Trained:
        trained = train(chosen, self.data(chosen, out), out, alone(), **how)
        assert trained is not None
        return trained


@pytest.fixture
def trains(manifest: Manifest, store: Path) -> Trains:
    return Trains(manifest, store)


@pytest.fixture(scope="module")
def members(
    manifest: Manifest, store: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Bundles for fusions, which tests copy."""
    folder, trains = tmp_path_factory.mktemp("members"), Trains(manifest, store)
    trains(recipe(name="bytes"), folder / "bytes")
    trains(recipe(name="sizes", **FOREST), folder / "sizes")
    return {name: folder / name for name in ("bytes", "sizes")}


def curve(trained: Trained) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in trained.history]


def weights(out: Path) -> str:
    return load_bundle(out).config.weights_sha256


def test_a_bundle_its_card_and_the_record_of_its_run(trains: Trains, tmp_path: Path) -> None:
    out = tmp_path / "small"
    trained = trains(recipe(budget={"alerts_per_day": 1.0, "flows_per_day": 10.0}), out)
    assert verify(out) < 1e-6
    model = Model(load_bundle(out), "cpu")
    data = trains.data(recipe(), tmp_path)
    verdicts = judge_records([model], data.val.flows)
    assert len(verdicts) == len(data.val)
    assert trained.measure("auroc") > 0.9
    config = model.bundle.config
    assert config.labels == ["benign", "malicious"]
    assert config.scores["auroc"] == pytest.approx(trained.measure("auroc"), abs=1e-4)
    assert config.novelty is not None
    assert config.policy.budget is not None
    card = (out / CARD).read_text()
    assert "| auroc |" in card
    assert "honest protocol" in card
    said = json.loads((out / "run" / "run.json").read_text())
    assert said["recipe"]["name"] == "small"
    assert [row["loss"] for row in said["history"]] == [row["loss"] for row in curve(trained)]
    assert said["records"]["train"] == torch.bincount(torch.tensor(data.train.label)).tolist()
    files = {path.name for path in (out / "run").iterdir()}
    assert files == {"run.json", "curves.png", "confusion.png"}


def test_a_seed_gives_the_same_weights(trains: Trains, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        chosen = recipe(seed=seed, epochs=1, augment={"blur": 0.5, "rtt": 0.5})
        trains(chosen, tmp_path / name)
    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")


class Killed(BaseException):
    """As a process ends."""


def test_killed_and_resumed_training_goes_on_as_it_would_have(
    trains: Trains, tmp_path: Path
) -> None:
    chosen = recipe(epochs=3, augment={"blur": 0.5}, patience=2, measure="auroc")
    whole = trains(chosen, tmp_path / "whole")

    def die(epoch: int, epochs: int, figures: dict[str, float]) -> None:
        if epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        trains(chosen, tmp_path / "cut", told=die)
    epochs: list[int] = []
    resumed = trains(
        chosen, tmp_path / "cut", resume=True, told=lambda epoch, *_: epochs.append(epoch)
    )
    assert epochs == list(range(3, len(whole.history) + 1))
    assert curve(resumed) == curve(whole)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


def test_a_checkpoint_of_another_recipe_is_refused(trains: Trains, tmp_path: Path) -> None:
    def die(*_: object) -> None:
        raise Killed

    with pytest.raises(Killed):
        trains(recipe(), tmp_path / "a", told=die)
    with pytest.raises(ConfigError, match="another recipe or manifest"):
        trains(recipe(rate=0.02), tmp_path / "a", resume=True)
    checkpoint = tmp_path / "a" / "run" / "checkpoint.safetensors"
    checkpoint.write_bytes(b"\x80\x04pickle")
    with pytest.raises(ConfigError, match="not a checkpoint"):
        trains(recipe(), tmp_path / "a", resume=True)


def test_early_stopping_keeps_the_best_epoch(trains: Trains, tmp_path: Path) -> None:
    trained = trains(recipe(epochs=12, patience=2, measure="auroc"), tmp_path / "a")
    best = max(row["val_auroc"] for row in trained.history)
    assert len(trained.history) < 12
    said = json.loads((tmp_path / "a" / "run" / "run.json").read_text())
    assert trained.history[said["best_epoch"] - 1]["val_auroc"] == best
    assert len(trained.history) == said["best_epoch"] + 2


@pytest.mark.parametrize(
    "changes",
    [
        {"input": {"kind": "packet_bytes", "bytes": 100}, "network": {"name": "mlp"}},
        {
            "input": {"kind": "packet_bytes", "bytes": 100},
            "network": {"name": "autoencoder"},
            "pretrain": 1,
        },
        {"input": {"kind": "packet_bytes", "bytes": 100}, "network": {"name": "deep-packet"}},
        {
            "input": {"kind": "flowpic", "resolution": 32, "window_s": 5.0},
            "network": {"name": "flowpic-mini"},
            "augment": {"rtt": 1.0, "shift": 0.5, "loss": 0.5, "end": 0.5},
        },
        FOREST,
        {**FOREST, "input": {"kind": "tokens", "words": 20}},
    ],
    ids=["mlp", "autoencoder", "deep-packet", "flowpic", "sizes", "tokens"],
)
def test_every_kind_of_input_and_model(
    trains: Trains, tmp_path: Path, changes: dict[str, Any]
) -> None:
    trained = trains(recipe(**{"epochs": 1, **changes}), tmp_path / "a")
    assert verify(tmp_path / "a") < 1e-5
    assert trained.evaluation.model.answers.label.size > 20
    forest = changes["network"]["name"] == "random-forest"
    assert (tmp_path / "a" / (ONNX if forest else WEIGHTS)).is_file()
    if forest:
        assert trained.measure("auroc") > 0.9


def test_labels_and_records_that_a_recipe_names(trains: Trains, tmp_path: Path) -> None:
    chosen = recipe(task="family", protocol="paper", per_class=10)
    data = trains.data(chosen, tmp_path)
    assert data.task.labels == ("chat", "worm")
    assert torch.bincount(torch.tensor(data.train.label)).tolist() == [10, 10]
    with pytest.raises(DataError, match="1 labels to train on"):
        trains.data(recipe(leave_out=["malicious"]), tmp_path)
    with pytest.raises(DataError, match=r"leave_out: 'malicous' .* did you mean malicious\?"):
        trains.data(recipe(leave_out=["malicous"]), tmp_path)
    trains(chosen, tmp_path / "a")
    assert load_bundle(tmp_path / "a").config.data.protocol.startswith("paper protocol")
    assert "paper protocol" in (tmp_path / "a" / CARD).read_text()


def test_a_fusion_says_what_each_member_says(
    trains: Trains, members: dict[str, Path], tmp_path: Path
) -> None:
    for name, path in members.items():
        shutil.copytree(path, tmp_path / name)
    fused = recipe(
        name="both", network={"name": "fusion"}, input=None, members=["bytes", "sizes"],
        judges={"kinds": ["early", "block", "final"], "min_packets": 4},
    )  # fmt: skip
    trained = trains(fused, tmp_path / "both")
    assert trained.measure("auroc") > 0.9
    model = Model(load_bundle(tmp_path / "both"), "cpu")
    flows = trains.data(recipe(), tmp_path).val.flows
    assert model.members is not None
    alone = model.members.models[0]
    details = judge_records([model], flows).detail
    assert all("bytes:" in detail and "sizes:" in detail for detail in details)
    # a record that one member does not judge is judged by the other
    assert len(alone.rows(flows)) == len(model.rows(flows))
    headless = flows.take(model.rows(flows))
    headless = type(headless)(**{**vars(headless), "head_offsets": 0 * headless.head_offsets})
    verdicts = model.judge(headless)
    assert all("bytes:" not in detail and "sizes:" in detail for detail in verdicts.detail)
    settings = yaml.safe_load((tmp_path / "sizes" / CONFIG).read_text())
    (tmp_path / "sizes" / CONFIG).write_text(yaml.safe_dump({**settings, "version": "2"}))
    with pytest.raises(Exception, match="trained or calibrated again"):
        load_bundle(tmp_path / "both")


def test_a_fusion_may_add_up_the_members_in_its_folder(
    trains: Trains, members: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(members["bytes"], tmp_path / "sum" / "bytes")
    payload = {**FOREST, "input": {"kind": "payload", "grams": 20, "least_groups": 1}}
    trains(recipe(name="said", **payload), tmp_path / "sum" / "said")
    fused = recipe(
        name="sum", network={"name": "fusion"}, input=None, members=["bytes", "said"], equal=True,
        notes="A note.",
    )  # fmt: skip
    trained = trains(fused, tmp_path / "sum")
    assert trained.measure("auroc") > 0.9
    bundle = load_bundle(tmp_path / "sum")
    assert bundle.network.state_dict()["output.weight"].tolist() == [[0, 0, 0, 0], [0, 1, 0, 1]]
    assert bundle.members[1].spec.shape == (93 + 20,)
    assert bundle.members[1].neighbours is None  # its inputs are pieces of captures
    assert "A note." in (tmp_path / "sum" / CARD).read_text()
    assert verify(tmp_path / "sum") < 1e-5
    val = trains.data(fused, tmp_path / "sum").val
    alike = replace(val, flows=replace(val.flows, samples=np.zeros_like(val.flows.samples)))
    asked, _ = sides(Model(bundle, "cpu"), alike, None, "honest")
    assert len(asked) == len(val)  # what members read makes inputs the same, not sizes alone
    said = tmp_path / "sum" / "said" / REFERENCE
    said.write_bytes(said.read_bytes()[:-1] + b"?")
    with pytest.raises(BundleError, match=f"{said}: SHA-256 is .*reference_sha256"):
        verify(tmp_path / "sum")


def test_a_study_is_a_bundle_for_each_combination(
    manifest: Manifest, store: Path, tmp_path: Path
) -> None:
    chosen = recipe(**FOREST, study={"input.packets": [2, 10], "input.times": [True]})
    session = Session(manifest, store, alone())
    result = session.run(chosen, tmp_path)
    assert [row["input.packets"] for row in result.rows] == [2, 10]
    table = (tmp_path / "study.md").read_text().splitlines()
    assert table[0].startswith("| input.packets | input.times | bundle | n | accuracy |")
    assert len(table) == 4
    assert load_bundle(tmp_path / "small-02").spec.shape == (10, 2)
    again = Session(manifest, store, alone(), resume=True).run(chosen, tmp_path)
    assert again.rows == json.loads(json.dumps(result.rows))


def test_tuning_trains_with_the_best_of_the_space(
    manifest: Manifest, store: Path, tmp_path: Path
) -> None:
    session = Session(manifest, store, alone())
    chosen = recipe(**FOREST, tune={"network.args.n_estimators": [1, 20], "input.times": [True]})
    row = session.run(chosen, tmp_path / "a", tune=2).rows[0]
    trials = sorted((tmp_path / "a" / "trials").iterdir())
    assert len(trials) == 2
    tried = [load_bundle(trial).config.network.args["n_estimators"] for trial in trials]
    assert row["network.args.n_estimators"] in tried
    with pytest.raises(ConfigError, match="key tune is missing"):
        session.run(recipe(), tmp_path / "b", tune=1)


def test_the_command(
    manifest: Manifest, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_recipe(tmp_path / "r.yaml", **FOREST)
    where = ["--data", str(manifest.root), "--store", str(store), "--out", str(tmp_path / "out")]
    assert run(["train", str(path), *where, "--json", "--device", "cpu"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["auroc"] > 0.9
    assert run(["train", str(tmp_path / "none.yaml"), *where]) == 1
    assert "none.yaml: No such file" in capsys.readouterr().err
    assert run(["train", str(write_recipe(tmp_path / "r.yaml", epoch=1)), *where]) == 1
    assert "did you mean epochs?" in capsys.readouterr().err


@pytest.mark.long
def test_torchrun_trains_with_several_processes(
    manifest: Manifest, store: Path, tmp_path: Path
) -> None:
    path = write_recipe(tmp_path / "r.yaml")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    command += ["--standalone", "--local-addr=127.0.0.1", "-m", "mtc_sensor"]
    command += ["train", str(path), "--data", str(manifest.root), "--store", str(store)]
    command += ["--out", str(tmp_path / "out"), "--json", "--device", "cpu"]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(rows) == 1
    assert rows[0]["auroc"] > 0.9
