import io
import os
import pickle
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from mtc_sensor.errors import BundleError
from mtc_sensor.models import weights
from mtc_sensor.models.bundle import (
    CONFIG,
    REFERENCE,
    WEIGHTS,
    bundle_path,
    find_bundles,
    load_bundle,
    save_bundle,
    verify,
)
from mtc_sensor.models.networks import build_network

from .bundles import change_config, change_weights, make_bundle, settings


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "small")


@pytest.fixture
def bundle(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "small"))


def refusal(path: Path) -> str:
    with pytest.raises(BundleError) as caught:
        load_bundle(path)
    return str(caught.value)


def tensors(path: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load((path / WEIGHTS).read_bytes())


@pytest.mark.parametrize("kind", ["byte_matrix", "flowpic"])
def test_what_was_saved_is_loaded(tmp_path: Path, kind: str) -> None:
    path = make_bundle(tmp_path / "b", kind)
    loaded = load_bundle(path)
    assert loaded.config.labels == ["benign", "bot", "worm"]
    assert loaded.spec.kind == kind
    assert not loaded.network.training
    assert not any(tensor.requires_grad for tensor in loaded.network.parameters())
    assert verify(path) < 1e-6


def test_probabilities_are_the_softmax_of_logits_over_temperature(bundle: Path) -> None:
    loaded = load_bundle(bundle)
    matrix = torch.randint(0, 256, (5, 8, 80), dtype=torch.uint8)
    expected = torch.softmax(loaded.network(matrix) / 2.0, dim=1)
    assert torch.allclose(loaded.probabilities(matrix), expected)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_missing_file(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    assert refusal(bundle).startswith(f"{bundle / name}: no such file")


def test_no_folder(tmp_path: Path) -> None:
    assert f"{tmp_path / 'x'}: not a folder" in refusal(tmp_path / "x")


def test_one_flipped_bit_of_the_weights(bundle: Path) -> None:
    data = bytearray((bundle / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (bundle / WEIGHTS).write_bytes(data)
    message = refusal(bundle)
    assert str(bundle / WEIGHTS) in message
    assert "weights_sha256" in message
    assert "copy the whole folder again" in message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lables": ["a"]}, ["unknown key lables", "did you mean labels?"]),
        ({"policy": {"treshold": 0.9, "unknown_below": 0.5}},
         ["unknown key policy.treshold", "did you mean threshold?", "policy.threshold is missing"]),
        ({"temperature": None}, ["key temperature is missing"]),
        ({"temperature": 0.0}, ["temperature", "greater than 0"]),
        ({"temperature": float("nan")}, ["temperature"]),
        ({"format": 2}, ["format", "2"]),
        ({"name": "../../etc"}, ["name", "../../etc"]),
        ({"labels": ["benign", "bot", "bot"]}, ["labels"]),
        ({"labels": ["benign", "bot", "unknown"], "malicious": ["bot"]}, ["unknown"]),
        ({"malicious": ["virus"]}, ["malicious", "virus"]),
        ({"malicious": []}, ["threshold"]),
        ({"labels": ["benign", "bot"], "malicious": ["bot"]},
         ["tensor output.1.weight", "[3, 16]", "[2, 16]", "labels"]),
        ({"policy": {"threshold": 2.0, "unknown_below": 0.5}}, ["policy.threshold"]),
        ({"judges": {"kinds": ["late"], "min_packets": 4}}, ["judges.kinds", "late"]),
        ({"weights_sha256": "xyz"}, ["weights_sha256", "xyz"]),
        ({"input": {"kind": "byte_matrix", "packets": 9}}, ["input: packets", "9"]),
        ({"input": {"kind": "hologram"}}, ["input: kind", "hologram"]),
        ({"input": {"kind": "byte_matrix", "bytes": 40}}, ["tensor position", "[40, 8]"]),
        ({"input": {"kind": "flowpic"}}, ["network"]),
        ({"network": {"name": "packet-cn", "args": {}}}, ["packet-cn", "did you mean packet-cnn?"]),
        ({"network": {"name": "packet-cnn", "args": {"depth": 3}}}, ["packet-cnn", "depth"]),
        ({"network": {"name": "packet-cnn", "args": {"hidden": -1}}}, ["packet-cnn"]),
        ({"network": {"name": "packet-cnn", "args": {"hidden": 10**9}}}, ["1000000000"]),
    ],
)  # fmt: skip
def test_a_wrong_key_is_named(bundle: Path, changes: dict[str, Any], words: list[str]) -> None:
    change_config(bundle, **changes)
    message = refusal(bundle)
    assert str(bundle) in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    "text",
    [
        b"labels: [a",
        b"a: 1\na: 2\n",
        b"a: &x [1]\nb: *x\n",
        b"!!python/object/apply:os.system ['true']",
        b"[" * 20_000,
        b"\xff\xfe\x00",
        b"- 1\n",
        b"",
        b"? [a]\n: 1\n",
        b"#" * 70_000,
    ],
)
def test_not_a_bundle_yaml(bundle: Path, text: bytes) -> None:
    (bundle / CONFIG).write_bytes(text)
    assert str(bundle / CONFIG) in refusal(bundle)


def test_tensors_of_another_network(bundle: Path) -> None:
    wrong = tensors(bundle)
    wrong["surplus"] = torch.zeros(1)
    change_weights(bundle, safetensors.torch.save(wrong))
    assert "tensor surplus is not one of the network's" in refusal(bundle)
    del wrong["surplus"], wrong["position"]
    change_weights(bundle, safetensors.torch.save(wrong))
    assert "tensor position is missing" in refusal(bundle)


def test_a_tensor_of_another_type(bundle: Path) -> None:
    wrong = tensors(bundle)
    wrong["position"] = wrong["position"].double()
    change_weights(bundle, safetensors.torch.save(wrong))
    assert "tensor position is float64 [80, 8], the network has float32 [80, 8]" in refusal(bundle)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(bundle: Path, value: float) -> None:
    wrong = tensors(bundle)
    wrong["position"][0, 0] = value
    change_weights(bundle, safetensors.torch.save(wrong))
    assert "tensor position holds NaN or infinity" in refusal(bundle)


@pytest.mark.parametrize("name", ["weights.pt", "old.PKL", "pytorch_model.bin", "a.joblib"])
def test_a_pickle_beside_the_weights(bundle: Path, name: str) -> None:
    (bundle / name).write_bytes(b"")
    message = refusal(bundle)
    assert str(bundle / name) in message
    assert "pickled models are refused" in message


def zipped() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("data.pkl", b"")
    return data.getvalue()


@pytest.mark.parametrize("data", [pickle.dumps({"a": 1}), pickle.dumps([], 2), zipped()])
def test_weights_that_are_a_pickle(bundle: Path, data: bytes) -> None:
    change_weights(bundle, data)
    assert "like a pickle or an archive" in refusal(bundle)


def test_a_header_whose_length_begins_like_a_pickle(bundle: Path) -> None:
    data = (bundle / WEIGHTS).read_bytes()
    length = int.from_bytes(data[:8], "little")
    padded = data[8 : 8 + length] + b" " * (-(length - 0x0280) % 0x10000)
    assert len(padded) & 0xFFFF == 0x0280
    change_weights(bundle, len(padded).to_bytes(8, "little") + padded + data[8 + length :])
    assert load_bundle(bundle).config.name == "small"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x08",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 5) + b"hello",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 60) + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}     ',
    ],
)
def test_weights_that_are_not_safetensors(bundle: Path, data: bytes) -> None:
    change_weights(bundle, data)
    message = refusal(bundle)
    assert str(bundle / WEIGHTS) in message
    assert "safetensors" in message


def test_weights_of_an_absurd_size_are_not_read_whole(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "MAX_FILE", 1 << 20)
    with (bundle / WEIGHTS).open("r+b") as file:
        file.truncate((1 << 20) + 1)
    assert "larger than 1 MiB" in refusal(bundle)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_link_out_of_the_folder(bundle: Path, name: str) -> None:
    (bundle / name).rename(bundle.parent / "elsewhere")
    (bundle / name).symlink_to(bundle.parent / "elsewhere")
    assert "outside the bundle" in refusal(bundle)


def test_a_link_within_the_folder_is_fine(bundle: Path) -> None:
    (bundle / "v1").mkdir()
    (bundle / WEIGHTS).rename(bundle / "v1" / WEIGHTS)
    (bundle / WEIGHTS).symlink_to(bundle / "v1" / WEIGHTS)
    assert load_bundle(bundle).config.name == "small"


def test_a_pipe_does_not_hang(bundle: Path) -> None:
    (bundle / WEIGHTS).unlink()
    os.mkfifo(bundle / WEIGHTS)
    assert "no such file" in refusal(bundle)


def test_a_reference_that_is_not_reproduced(bundle: Path) -> None:
    change_config(bundle, temperature=1.0)
    with pytest.raises(BundleError, match="probabilities differ by"):
        verify(bundle)


def test_a_reference_of_another_shape(bundle: Path) -> None:
    data = safetensors.torch.save(
        {"input": torch.zeros(1, 3, 3), "probabilities": torch.zeros(1, 3)}
    )
    (bundle / REFERENCE).write_bytes(data)
    with pytest.raises(BundleError, match="reference_sha256"):
        verify(bundle)
    change_config(bundle, reference_sha256=weights.sha256_of(data))
    with pytest.raises(BundleError, match="does not fit the network"):
        verify(bundle)


def test_saving_what_would_be_refused(tmp_path: Path) -> None:
    config = settings() | {"temperature": -1.0}
    network = build_network("packet-cnn", (8, 80), 3, config["network"]["args"])
    with pytest.raises(BundleError, match="temperature"):
        save_bundle(tmp_path, config, network, torch.zeros(1, 8, 80, dtype=torch.uint8), "")


def test_a_name_or_a_folder(bundle: Path) -> None:
    assert bundle_path(str(bundle)) == bundle
    assert bundle_path("byte-cnn") == find_bundles()["byte-cnn"]
    with pytest.raises(BundleError, match=r"byte-cn: no such bundle: did you mean byte-cnn\?"):
        bundle_path("byte-cn")
