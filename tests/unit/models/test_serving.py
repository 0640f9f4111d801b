"""Networks made faster give what they gave before."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mtc_sensor.models.networks import build_network
from mtc_sensor.models.serving import prepared

NETWORKS = {
    "byte-cnn-lstm": (8, 80),
    "packet-cnn": (8, 80),
    "flowpic-lenet": (1, 256, 256),
    "flowpic-mini": (2, 32, 32),
    "deep-packet": (200,),
}


def trained(name: str, shape: tuple[int, ...]) -> nn.Module:
    """A network whose batch norms have seen something, in evaluation mode."""
    torch.manual_seed(3)
    network = build_network(name, shape, 4, {}).train()
    for _ in range(3):
        network(torch.randint(0, 256, (8, *shape), dtype=torch.uint8))
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_equal(name: str) -> None:
    network = trained(name, NETWORKS[name])
    inputs = torch.randint(0, 256, (16, *NETWORKS[name]), dtype=torch.uint8)
    torch.testing.assert_close(prepared(network)(inputs), network(inputs), atol=1e-4, rtol=1e-4)


def test_neither_batch_norms_nor_conv1d_are_left_and_the_original_keeps_them() -> None:
    network = trained("packet-cnn", (8, 80))
    assert not {nn.Conv1d, nn.BatchNorm1d} & {type(part) for part in prepared(network).modules()}
    assert {nn.Conv1d, nn.BatchNorm1d} <= {type(part) for part in network.modules()}


def test_a_network_without_convolutions_stays_as_it_is() -> None:
    network = build_network("mlp", (200,), 4, {}).eval()
    assert prepared(network) is network
