from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from mtc_sensor.errors import BundleError
from mtc_sensor.models.bundle import NEIGHBOURS, load_bundle
from mtc_sensor.models.flowpic import MiniFlowPicNet
from mtc_sensor.models.novelty import Neighbours, described, feature_width, with_features
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


def test_features_are_what_the_last_layer_is_given() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    inputs = torch.randn(5, 3)
    logits, features = with_features(network, described(network), inputs)
    torch.testing.assert_close(network[:2](inputs), features)
    torch.testing.assert_close(network(inputs), logits)


def test_a_network_may_name_the_layer_whose_inputs_are_features() -> None:
    network = MiniFlowPicNet((2, 32, 32), 4).eval()
    inputs = torch.randint(0, 3, (5, 2, 32, 32))
    logits, features = with_features(network, described(network), inputs)
    torch.testing.assert_close(network.features(torch.log1p(inputs.float())), features)
    torch.testing.assert_close(network.classifier(features), logits)
    assert features.shape == (5, feature_width(network, (2, 32, 32)))


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


@pytest.mark.parametrize("k", [1, 3, 40])
def test_novelty_is_what_its_definition_says(k: int) -> None:
    torch.manual_seed(1)
    known, asked = torch.randn(40, 16), torch.cat([torch.randn(30, 16), torch.zeros(1, 16)])
    cosines = torch.nn.functional.cosine_similarity(asked[:, None], known[None], dim=2)
    expected = 1 - cosines.sort(dim=1, descending=True).values[:, k - 1]
    torch.testing.assert_close(Neighbours(known, k).novelty(asked), expected)
