import pytest
import torch
from torch import nn

from mtc_sensor.models.deep_packet import DeepPacketCnn, Mlp, StackedAutoencoder


@pytest.mark.parametrize("network", [DeepPacketCnn, StackedAutoencoder, Mlp])
def test_packets_give_logits_that_do_not_depend_on_their_batch(network: type[nn.Module]) -> None:
    torch.manual_seed(1)
    made = network((300,), 5).eval()
    packets = torch.randint(0, 256, (7, 300), dtype=torch.uint8)
    logits = made(packets)
    assert logits.shape == (7, 5)
    torch.testing.assert_close(logits[2:3], made(packets[2:3]), atol=1e-5, rtol=1e-4)
    assert logits.std(dim=0).min() > 0


def test_sizes_are_those_of_the_papers() -> None:
    cnn = DeepPacketCnn((1500,), 12)
    widths = [module.out_features for module in cnn.modules() if isinstance(module, nn.Linear)]
    assert widths == [600, 500, 400, 300, 200, 100, 50, 12]
    encoder = StackedAutoencoder((1500,), 12)
    layers = [m.out_features for m in encoder.layers.modules() if isinstance(m, nn.Linear)]
    assert layers == [400, 300, 200, 100, 50]
    assert encoder.encode(torch.zeros(2, 1500, dtype=torch.uint8), 2).shape == (2, 300)


def test_numbers_that_are_no_bytes_are_not_scaled() -> None:
    network = Mlp((2, 3), 2, width=4, depth=1).eval()
    given = torch.tensor([[[0, 1, 2], [3, 4, 5]]], dtype=torch.uint8)
    torch.testing.assert_close(network(given), network(given.float() / 255))


@pytest.mark.parametrize(
    "make",
    [
        lambda: DeepPacketCnn((8,), 2),
        lambda: Mlp((8,), 2, width=4, depth=4),
        lambda: Mlp((8,), 2, depth=0),
    ],
)
def test_what_cannot_be_made(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=r"too short|no width"):
        make()
