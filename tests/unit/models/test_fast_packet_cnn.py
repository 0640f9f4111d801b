"""The network over packets that serves gives what the one that was trained gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from mtc_sensor.models._packets import look_up
from mtc_sensor.models.byte_cnn import PacketCnn
from mtc_sensor.models.serving import prepared


def trained(shape: tuple[int, int], **sizes: int) -> PacketCnn:
    """A network whose batch norms and positions are not what they begin with."""
    torch.manual_seed(3)
    network = PacketCnn(shape, 4, **sizes).train()
    nn.init.normal_(network.position)
    for _ in range(3):
        network(torch.randint(0, 256, (8, *shape), dtype=torch.uint8))
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("flows", [1, 2, 33])
@pytest.mark.parametrize("shape", [(8, 80), (1, 80), (2, 77), (3, 9), (8, 1)])
def test_outputs_are_equal(shape: tuple[int, int], flows: int) -> None:
    network = trained(shape)
    different = torch.randint(0, 256, (7, shape[1]), dtype=torch.uint8)
    matrix = different[torch.randint(0, 7, (flows, shape[0]))]
    with torch.inference_mode():
        torch.testing.assert_close(prepared(network)(matrix), network(matrix), atol=1e-4, rtol=1e-4)


def test_outputs_are_equal_for_other_widths_of_layers() -> None:
    network = trained((5, 40), embedding=3, channels=10, hidden=12)
    matrix = torch.randint(0, 256, (6, 5, 40), dtype=torch.uint8)
    torch.testing.assert_close(prepared(network)(matrix), network(matrix), atol=1e-4, rtol=1e-4)


def test_no_flows_give_no_logits() -> None:
    assert prepared(trained((8, 80)))(torch.zeros(0, 8, 80, dtype=torch.uint8)).shape == (0, 4)


def looked_up(rows: NDArray[np.uint8]) -> tuple[int, NDArray[np.float32], list[int]]:
    table = np.zeros((5, 257, 1), np.float32)
    table[:, :256, 0] = np.arange(256) * np.array([1, 10, 100, 1000, 10000])[:, None]
    silent = np.full((rows.shape[1] // 2, 1), -1, np.float32)
    out, which = np.full((len(rows), 6, 1), np.nan, np.float32), np.empty(len(rows), np.int64)
    count = look_up(rows, rows.view(np.uint64), table, silent, out, which)
    return count, out[:, :, 0], which.tolist()


def test_a_convolution_is_looked_up() -> None:
    rows = np.array([[1, 2, 3, 4, 5, 6, 7, 8], [0] * 8], np.uint8)
    count, out, which = looked_up(rows)
    assert count == 2
    assert which == [0, 1]
    assert out[0].tolist() == [32099, 54320, 76542, 8764, 0, 0]
    assert out[1].tolist() == [0] * 6  # ReLU of what is there without bytes


def test_equal_packets_are_computed_once() -> None:
    rows = np.random.default_rng(1).integers(0, 256, (500, 8), np.uint8)
    numbers = np.random.default_rng(2).integers(0, 500, 3000)
    count, _, which = looked_up(rows[numbers])
    assert count == len(set(numbers.tolist()))
    first = {number: place for place, number in enumerate(dict.fromkeys(numbers.tolist()))}
    assert which == [first[number] for number in numbers.tolist()]
