"""Networks over the bytes of one packet: (B, bytes) in, logits out."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

_DENSE = (600, 500, 400, 300, 200, 100, 50)
_CODES = (400, 300, 200, 100, 50)


class DeepPacketCnn(nn.Module):
    """The 1D-CNN of Deep Packet, as re-implemented for application identification.

    Conv1d 200 k5, Conv1d 100 k4, MaxPool 2, then dense layers of 600, 500, 400, 300, 200, 100 and
    50; batch norm and dropout .05, as in the paper. The first convolution's stride of 3 is the
    paper's: without it the first dense layer alone has 45 million weights.

    Parameters
    ----------
    shape
        Bytes of a packet.
    labels
        Width of the output.
    stride
        Of the first convolution.

    References
    ----------
    Lotfollahi, Jafari Siavoshani, Shirali Hossein Zade, Saberian: "Deep Packet: A Novel Approach
    for Encrypted Traffic Classification Using Deep Learning", Soft Computing 24 (2020).
    """

    def __init__(self, shape: tuple[int], labels: int, stride: int = 3) -> None:
        super().__init__()
        width = ((shape[0] - 5) // stride + 1 - 3) // 2
        if width < 1:
            raise ValueError(f"packets of {shape[0]} bytes are too short for stride {stride}")
        self.convolutions = nn.Sequential(
            nn.Conv1d(1, 200, 5, stride=stride),
            nn.BatchNorm1d(200),
            nn.ReLU(),
            nn.Conv1d(200, 100, 4),
            nn.BatchNorm1d(100),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Flatten(),
        )
        self.dense = nn.Sequential(*_dense((100 * width, *_DENSE), 0.05))
        self.output = nn.Linear(_DENSE[-1], labels)

    def forward(self, packet: Tensor) -> Tensor:
        """Return (B, labels) logits of (B, bytes) uint8."""
        maps = self.convolutions(_scaled(packet, self).unsqueeze(1))
        logits: Tensor = self.output(self.dense(maps))
        return logits


class StackedAutoencoder(nn.Module):
    """Deep Packet's stacked autoencoder: 400, 300, 200, 100, 50, then the labels.

    `layers` are trained one after the other to give back what they are given (`reconstruct`), then
    all together with the output.

    Parameters
    ----------
    shape
        Bytes of a packet.
    labels
        Width of the output.

    References
    ----------
    Lotfollahi et al., as for `DeepPacketCnn`. Layer by layer: Bengio, Lamblin, Popovici,
    Larochelle: "Greedy Layer-Wise Training of Deep Networks", NIPS 2006.
    """

    def __init__(self, shape: tuple[int], labels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(i, o), nn.ReLU(), nn.Dropout(0.05))
            for i, o in pairwise((shape[0], *_CODES))
        )
        self.output = nn.Linear(_CODES[-1], labels)

    def forward(self, packet: Tensor) -> Tensor:
        """Return (B, labels) logits of (B, bytes) uint8."""
        logits: Tensor = self.output(self.encode(packet, len(self.layers)))
        return logits

    def encode(self, packet: Tensor, depth: int) -> Tensor:
        """Return what the first `depth` layers make of (B, bytes) uint8."""
        code = _scaled(packet, self)
        for layer in list(self.layers)[:depth]:
            code = layer(code)
        return code


class Mlp(nn.Module):
    """Dense layers, each half as wide as the one before: on packets' bytes or any other input.

    Bytes are scaled to 0..1, other numbers are taken as they are.

    Parameters
    ----------
    shape
        Of one input, which is made flat.
    labels
        Width of the output.
    width, depth
        Of the first hidden layer, and how many there are.
    dropout
        After each.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        labels: int,
        width: int = 512,
        depth: int = 3,
        dropout: float = 0.25,
    ) -> None:
        super().__init__()
        widths = [width >> number for number in range(depth)]
        if min(widths, default=0) < 1 or depth > 16:
            raise ValueError(f"{depth} layers from width {width} on: one has no width")
        self.dense = nn.Sequential(*_dense((math.prod(shape), *widths), dropout))
        self.output = nn.Linear(widths[-1], labels)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (B, labels) logits of (B, ...) uint8 or numbers."""
        logits: Tensor = self.output(self.dense(_scaled(inputs, self).flatten(1)))
        return logits


def _scaled(inputs: Tensor, network: nn.Module) -> Tensor:
    scaled = inputs.to(next(network.parameters()).dtype)
    return scaled / 255 if inputs.dtype == torch.uint8 else scaled


def _dense(widths: tuple[int, ...], dropout: float) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for i, o in pairwise(widths):
        layers += [nn.Linear(i, o), nn.BatchNorm1d(o), nn.ReLU(), nn.Dropout(dropout)]
    return layers
