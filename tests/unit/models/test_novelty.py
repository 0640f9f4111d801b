from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml

from mtc_sensor.errors import BundleError
from mtc_sensor.models.bundle import CONFIG, NEIGHBOURS, load_bundle
from mtc_sensor.models.novelty import Neighbours, last_linear, with_features
from mtc_sensor.models.schema import Novelty
from mtc_sensor.models.weights import sha256_of

from .bundles import change_config, make_bundle


def with_neighbours(path: Path, features: torch.Tensor) -> Path:
    data = safetensors.torch.save({"features": features})
    (path / NEIGHBOURS).write_bytes(data)
    change_config(path, novelty={"k": 1, "neighbours_sha256": sha256_of(data)})
    return path


def test_novelty_is_the_cosine_distance_to_the_kth_nearest() -> None:
    known = torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])
    asked = torch.tensor([[5.0, 0.0], [0.0, 0.1], [1.0, 1.0]])
    nearest = Neighbours(known, 1).novelty(asked)
    torch.testing.assert_close(nearest, torch.tensor([0.0, 0.0, 1 - 0.5**0.5]))
    torch.testing.assert_close(Neighbours(known, 9).novelty(asked)[0], torch.tensor(2.0))


def test_guided_novelty_is_low_only_for_what_is_sure_and_near() -> None:
    head = torch.nn.Linear(2, 2, bias=False)
    head.weight.data = torch.tensor([[8.0, 0.0], [0.0, 8.0]])
    known = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]])
    energy = torch.logsumexp(head(known), 1)
    similar = torch.stack([energy[[0, 2]], energy[[1, 1]] * torch.tensor([1.0, 0.0])])
    guidance = energy[:2] * similar.mean(1)
    usual = torch.stack([guidance[0], guidance[1], energy[2] * similar[0].mean()]).median()
    asked = torch.cat([known[:2], torch.tensor([[0.01, 0.0], [-5.0, -5.0]])])
    novelty = Neighbours(known, 2, head).novelty(asked)
    torch.testing.assert_close(novelty[:2], torch.exp(-guidance / usual))
    assert novelty[2] > 0.9, "as near as the known by its angle, but hardly any energy"
    assert novelty[3] == 1, "no energy at all"
    torch.testing.assert_close(Neighbours(known, 2).novelty(asked[2:3]), torch.zeros(1))


def test_a_forest_has_no_energies_to_guide_by() -> None:
    with pytest.raises(ValueError, match="energies"):
        Neighbours.of(torch.nn.Flatten(), torch.zeros(2, 4), 1, "guided")


def test_features_are_what_the_last_layer_is_given() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    inputs = torch.randn(5, 3)
    logits, features = with_features(network, inputs)
    torch.testing.assert_close(network[:2](inputs), features)
    torch.testing.assert_close(network(inputs), logits)


def test_a_bundle_with_neighbours_loads(tmp_path: Path) -> None:
    path = with_neighbours(make_bundle(tmp_path / "m"), torch.randn(7, 16))
    bundle = load_bundle(path)
    assert bundle.neighbours is not None
    assert bundle.neighbours.features.shape == (7, 16)


@pytest.mark.parametrize("shape", [(7, 15), (0, 16), (7, 4, 4), (5000, 16)])
def test_neighbours_that_do_not_fit_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = with_neighbours(make_bundle(tmp_path / "m"), torch.zeros(shape))
    with pytest.raises(BundleError, match=r"neighbours\.safetensors.*16"):
        load_bundle(path)


def test_a_bundle_says_how_novelty_is_measured(tmp_path: Path) -> None:
    features, asked = torch.randn(7, 16), torch.randn(3, 16)
    path = with_neighbours(make_bundle(tmp_path / "m"), features)
    how = yaml.safe_load((path / CONFIG).read_text())["novelty"]
    assert load_bundle(path).config.novelty == Novelty(score="distance", **how)
    change_config(path, novelty=how | {"score": "guided"})
    bundle = load_bundle(path)
    assert bundle.neighbours is not None
    expected = Neighbours(features, 1, last_linear(bundle.network)).novelty(asked)
    torch.testing.assert_close(bundle.neighbours.novelty(asked), expected)
    change_config(path, novelty=how | {"score": "best"})
    with pytest.raises(BundleError, match=r"novelty\.score"):
        load_bundle(path)


def test_settings_that_need_neighbours_are_refused_without(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "m")
    change_config(path, calibration={"gain": 0.0, "fade": 1.0, "bias": [0.0, 0.0, 0.0]})
    with pytest.raises(BundleError, match="need novelty"):
        load_bundle(path)
    change_config(path, calibration={"gain": 0.0, "fade": 0.0, "bias": [0.0]})
    with pytest.raises(BundleError, match="one number per label"):
        load_bundle(path)


def test_half_precision_is_enough(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    features = torch.from_numpy(rng.normal(size=(50, 16)).astype(np.float32))
    asked = torch.from_numpy(rng.normal(size=(20, 16)).astype(np.float32))
    whole, half = (Neighbours(f, 5).novelty(asked) for f in (features, features.half()))
    torch.testing.assert_close(whole, half, atol=2e-3, rtol=0)
