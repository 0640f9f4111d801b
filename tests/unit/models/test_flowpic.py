import pytest
import torch

from mtc_sensor.models.flowpic import FlowPicLeNet, MiniFlowPicNet
from mtc_sensor.models.serving import prepared


def test_lenet_feeds_4500_features_to_the_first_dense_layer() -> None:
    assert FlowPicLeNet((1, 1500, 1500), 5).classifier[0].in_features == 4500


@pytest.mark.parametrize("shape", [(1, 1500, 1500), (2, 256, 256)])
def test_lenet_gives_logits(shape: tuple[int, int, int]) -> None:
    pictures = torch.zeros(1, *shape, dtype=torch.uint8)
    assert FlowPicLeNet(shape, 5).eval()(pictures).shape == (1, 5)


@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 32, 32), (2, 64, 64)])
def test_the_small_one_gives_logits(shape: tuple[int, int, int]) -> None:
    pictures = torch.zeros(3, *shape, dtype=torch.int32)
    assert MiniFlowPicNet(shape, 4).eval()(pictures).shape == (3, 4)


@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 32, 32), (2, 65, 65)])
@pytest.mark.parametrize("filled", [0.0, 0.01, 0.2, 1.0])
def test_counts_are_scattered_as_they_are_convolved(
    shape: tuple[int, int, int], filled: float
) -> None:
    torch.manual_seed(4)
    network = MiniFlowPicNet(shape, 4).eval()
    pictures = torch.randint(1, 200, (5, *shape)) * (torch.rand(5, *shape) < filled)
    with torch.inference_mode():
        torch.testing.assert_close(prepared(network)(pictures), network(pictures))


def test_counts_are_squashed_inside() -> None:
    network = MiniFlowPicNet((1, 32, 32), 2).eval()
    seen: list[torch.Tensor] = []
    network.features.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(torch.full((1, 1, 32, 32), 9.0))
    assert torch.allclose(seen[0], torch.log(torch.tensor(10.0)))


@pytest.mark.parametrize(("network", "side"), [(FlowPicLeNet, 64), (MiniFlowPicNet, 8)])
def test_pictures_too_small_for_the_stages_are_refused(
    network: type[FlowPicLeNet] | type[MiniFlowPicNet], side: int
) -> None:
    with pytest.raises(ValueError, match="too small"):
        network((1, side, side), 2)
