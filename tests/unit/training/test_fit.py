import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mtc_sensor.models.byte_cnn import ByteCnnLstm, PacketCnn
from mtc_sensor.models.flowpic import MiniFlowPicNet
from mtc_sensor.training.fit import Recipe, balanced, fit, logits_of


def two_kinds(shape: tuple[int, ...], high: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    rng = np.random.default_rng(1)
    labels = np.arange(96) % 2
    bright = labels.reshape(-1, *[1] * len(shape)) * (high // 2)
    return (rng.integers(0, high // 2, (96, *shape)) + bright).astype(np.uint8), labels


def test_the_loss_falls() -> None:
    for network, shape in (
        (PacketCnn, (8, 80)),
        (ByteCnnLstm, (8, 80)),
        (MiniFlowPicNet, (2, 32, 32)),
    ):
        inputs, labels = two_kinds(shape, 256 if len(shape) == 2 else 4)
        made = fit(
            lambda network=network, shape=shape: network(shape, 2),  # type: ignore[misc]
            inputs, labels, np.ones(96), Recipe(epochs=8, batch=32),
        )  # fmt: skip
        losses = made[1]
        assert np.mean(losses[-4:]) < 0.6 * np.mean(losses[:4]), network
        assert (logits_of(made[0], inputs).argmax(1) == labels).mean() > 0.9, network


def test_a_seed_gives_the_same_weights() -> None:
    inputs, labels = two_kinds((8, 80), 256)

    def weights(seed: int) -> list[torch.Tensor]:
        recipe = Recipe(epochs=1, batch=32, seed=seed)
        network: nn.Module = fit(
            lambda: PacketCnn((8, 80), 2, channels=4, hidden=4), inputs, labels, np.ones(96), recipe
        )[0]
        return list(network.state_dict().values())

    first, again, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_classes_weigh_the_same_and_groups_as_the_root_of_their_size() -> None:
    labels = np.array([0] * 5 + [1] * 2)
    groups = np.array(["a"] * 4 + ["b"] + ["c"] * 2)
    weights = balanced(labels, groups)
    assert np.isclose(weights[:5].sum(), weights[5:].sum())
    assert np.isclose(weights[:4].sum(), 2 * weights[4])
