"""Networks over FlowPics: ``(B, channels, resolution, resolution)`` packet counts in, logits out.

Counts are squashed with log(1 + n) inside the networks, so that training and serving cannot differ.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from mtc_sensor.models._scatter import convolve_and_pool
from mtc_sensor.models.sparse import convolved_and_pooled

_FIRST_STAGE = 3
"""Convolution, ReLU and pooling."""


class FlowPicLeNet(nn.Module):
    """The LeNet-5 style network of the FlowPic paper, for large pictures (1500, 256).

    Conv 10 k10 s5 p3, ReLU, MaxPool 2; Conv 20 k10 s5 p3, dropout .25, ReLU, MaxPool 2; FC 64,
    dropout .5, ReLU; FC labels. 4,500 features reach the first dense layer at 1500 x 1500.

    Parameters
    ----------
    shape
        Channels, size bins and time bins of a picture.
    labels
        Width of the output.

    Raises
    ------
    ValueError
        If the pictures are too small for the two stages.

    References
    ----------
    Shapira, Shavitt: "FlowPic: Encrypted Internet Traffic Classification is as Easy as Image
    Recognition", IEEE INFOCOM Workshops 2019. The softmax before the cross-entropy of the authors'
    code is left out.
    """

    takes_sparse = True
    """Pictures may be sparse tensors: at 1500 x 1500 these are 30 times as fast on a CPU."""

    def __init__(self, shape: tuple[int, int, int], labels: int) -> None:
        super().__init__()
        channels = shape[0]
        self.features = nn.Sequential(
            nn.Conv2d(channels, 10, 10, stride=5, padding=3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(10, 20, 10, stride=5, padding=3),
            nn.Dropout(0.25),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.classifier = nn.Sequential(
            nn.Linear(_flat(20, shape, kernel=10, stride=5, padding=3), 64),
            nn.Dropout(0.5),
            nn.ReLU(),
            nn.Linear(64, labels),
        )

    def forward(self, picture: Tensor) -> Tensor:
        """Return (B, labels) logits of (B, channels, height, width) counts of any number type."""
        first = self.features[0]
        if picture.is_sparse and isinstance(first, nn.Conv2d):
            maps = self.features[_FIRST_STAGE:](convolved_and_pooled(picture, first))
        else:
            maps = self.features(_squash(picture, self))
        logits: Tensor = self.classifier(maps)
        return logits


class MiniFlowPicNet(nn.Module):
    """The LeNet-5 of mini-FlowPic, for small pictures (32, 64).

    Conv 6 k5, ReLU, MaxPool 2; Conv 16 k5, dropout .25, ReLU, MaxPool 2; FC 120, ReLU; FC 84,
    dropout .5, ReLU; FC labels.

    Parameters
    ----------
    shape
        Channels, size bins and time bins of a picture.
    labels
        Width of the output.

    Raises
    ------
    ValueError
        If the pictures are too small for the two stages.

    References
    ----------
    Horowicz, Shapira, Shavitt: "A few shots traffic classification with mini-FlowPic
    augmentations", ACM IMC 2022; layers as replicated by Finamore et al., "Replication: Contrastive
    Learning and Data Augmentation in Traffic Classification Using a Flowpic Input Representation",
    ACM IMC 2023.
    """

    described_by = "classifier.0"
    """Novelty is measured by the feature maps. At 5 % false alarms they showed .62 of the records
    of a service of UC Davis QUIC that was left out of training, the last layer's inputs .34."""

    def __init__(self, shape: tuple[int, int, int], labels: int) -> None:
        super().__init__()
        channels = shape[0]
        self.features = nn.Sequential(
            nn.Conv2d(channels, 6, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.Dropout(0.25),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.classifier = nn.Sequential(
            nn.Linear(_flat(16, shape, kernel=5, stride=1, padding=0), 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.Dropout(0.5),
            nn.ReLU(),
            nn.Linear(84, labels),
        )

    def forward(self, picture: Tensor) -> Tensor:
        """Return (B, labels) logits of (B, channels, height, width) counts of any number type."""
        counted = picture.device.type == "cpu" and not picture.is_floating_point()
        if counted and not self.training and not torch.is_grad_enabled():
            maps = self.features[_FIRST_STAGE:](_scattered(picture, self.features[0]))
        else:
            maps = self.features(_squash(picture, self))
        logits: Tensor = self.classifier(maps)
        return logits


def _scattered(picture: Tensor, layer: nn.Module) -> Tensor:
    """Return what the first stage makes of counts; the layers take five times as long on a CPU."""
    assert isinstance(layer, nn.Conv2d)
    assert layer.bias is not None
    weights = layer.weight.detach().permute(1, 2, 3, 0).flip(2).contiguous().numpy()
    taps, _, maps = weights.shape[1:]
    side = (picture.shape[2] - taps + 1) // 2
    found = np.empty((len(picture), side, side, maps), np.float32)
    counts = picture.long().contiguous().numpy()
    convolve_and_pool(counts, weights, layer.bias.detach().numpy(), found)
    return torch.from_numpy(found).permute(0, 3, 1, 2)


def _squash(picture: Tensor, network: nn.Module) -> Tensor:
    return torch.log1p(picture.to(next(network.parameters()).dtype))


def _flat(maps: int, shape: tuple[int, int, int], kernel: int, stride: int, padding: int) -> int:
    """Features that two stages of convolution and pooling by 2 leave of a picture."""
    sides = list(shape[1:])
    for _ in range(2):
        sides = [((side + 2 * padding - kernel) // stride + 1) // 2 for side in sides]
    if min(sides) < 1:
        raise ValueError(f"pictures of shape {shape} are too small for two stages of k{kernel}")
    return maps * sides[0] * sides[1]
