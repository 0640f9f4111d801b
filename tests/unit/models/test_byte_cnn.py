import pytest
import torch
from torch import nn

from mtc_sensor.models.byte_cnn import ByteCnnLstm


def parameters(network: nn.Module) -> int:
    return sum(tensor.numel() for tensor in network.parameters())


def test_the_paper_network_has_the_published_size() -> None:
    assert parameters(ByteCnnLstm((8, 80), 11)) == 810_939


def test_its_convolutions_give_64_maps_of_280() -> None:
    network = ByteCnnLstm((8, 80), 11)
    maps = network.stage2(network.stage1(torch.zeros(2, 1, 8, 80)))
    assert maps.flatten(2).shape == (2, 64, 280)


def test_bytes_are_scaled_to_one() -> None:
    network = ByteCnnLstm((8, 80), 3).eval()
    seen: list[torch.Tensor] = []
    network.stage1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(torch.full((1, 8, 80), 255, dtype=torch.uint8))
    assert torch.equal(seen[0], torch.ones(1, 1, 8, 80))


@pytest.mark.parametrize("labels", [2, 11])
def test_logits_come_out(labels: int) -> None:
    logits = ByteCnnLstm((8, 80), labels).eval()(torch.zeros(3, 8, 80, dtype=torch.uint8))
    assert logits.shape == (3, labels)
    assert not torch.allclose(logits.exp().sum(1), torch.ones(3))  # no (log-)softmax inside


@pytest.mark.parametrize("shape", [(4, 80), (8, 10)])
def test_a_matrix_too_small_for_the_stages_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 5 packets and 11 bytes"):
        ByteCnnLstm(shape, 2)
