"""Networks over FlowPics: ``(B, channels, resolution, resolution)`` packet counts in, logits out.

Counts are squashed with log(1 + n) inside the networks, so that training and serving cannot differ.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray
from torch import Tensor, nn

from mtc_sensor.models._scatter import convolve_and_pool, pool
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

        self._fast: _Scattered | None = None

    def prepare(self) -> None:
        """Make what serving on a CPU goes by: there the layers take five times as long."""
        self._fast = _Scattered(*[part for part in self.features if isinstance(part, nn.Conv2d)])

    def forward(self, picture: Tensor) -> Tensor:
        """Return (B, labels) logits of (B, channels, height, width) counts of any number type."""
        counted = picture.device.type == "cpu" and not picture.is_floating_point()
        fast = self._fast if counted else None
        maps = self.features(_squash(picture, self)) if fast is None else fast(picture)
        logits: Tensor = self.classifier(maps)
        return logits


class _Scattered:
    """The features of a `MiniFlowPicNet` in few steps, as each costs a batch of any size."""

    def __init__(self, first: nn.Conv2d, second: nn.Conv2d) -> None:
        assert first.bias is not None
        assert second.bias is not None
        self._taps = first.kernel_size[0]
        self._first = first.weight.permute(1, 2, 3, 0).flip(2).contiguous().numpy()
        self._second = second.weight.permute(2, 3, 1, 0).flatten(0, 2).contiguous()
        self._biases = first.bias.numpy(), second.bias.numpy()

    def __call__(self, picture: Tensor) -> Tensor:
        """Return (B, features) of (B, channels, side, side) counts."""
        counts, (bias, second_bias) = picture.long().contiguous().numpy(), self._biases
        side = (picture.shape[2] - self._taps + 1) // 2
        maps = np.empty((len(counts), side, side, len(bias)), np.float32)
        convolve_and_pool(counts, self._first, bias, maps)
        sums = torch.from_numpy(_seen(maps, self._taps)) @ self._second
        side = side - self._taps + 1
        found = np.empty((len(counts), len(second_bias), side // 2, side // 2), np.float32)
        pool(sums.view(len(counts), side, side, -1).numpy(), second_bias, found)
        return torch.from_numpy(found).flatten(1)


def _seen(maps: NDArray[np.float32], taps: int) -> NDArray[np.float32]:
    """Return (outputs, taps * taps * channels): what each output of a convolution sees."""
    count, side, _, channels = maps.shape
    picture, row, place, one = maps.strides
    outputs, part = side - taps + 1, taps * channels  # neighbours in a row lie side by side
    shape, strides = (count, outputs, outputs, taps, part), (picture, row, place, row, one)
    seen: NDArray[np.float32] = as_strided(maps, shape, strides)
    return seen.reshape(count * outputs**2, taps * part)


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
