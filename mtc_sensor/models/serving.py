"""Networks changed so that they compute the same in less time; for serving, not for training.

Batch norms of a trained network are a factor and a summand for each channel, which the convolution
before can do itself. On a CPU, convolutions with the channels last are up to twice as fast, and
one-dimensional ones have that layout only as two-dimensional ones of height 1. The networks of the
shipped bundles have a way of their own to compute all this in few steps.
"""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mtc_sensor.models.byte_cnn import PacketCnn
from mtc_sensor.models.flowpic import MiniFlowPicNet

_PICTURES = 4
"""Dimensions of weights of a convolution over pictures."""


def prepared(network: nn.Module) -> nn.Module:
    """Return a network with equal outputs, but for the last digits; a copy, if it can be faster.

    It has to be in evaluation mode.
    """
    if not any(isinstance(module, nn.Conv1d | nn.Conv2d) for module in network.modules()):
        return network
    changed = copy.deepcopy(network)
    for part in [module for module in changed.modules() if isinstance(module, nn.Sequential)]:
        _fold(part)
        _flatten_convolutions(part)
        for number in reversed(range(len(part))):
            layer = part[number]
            if isinstance(layer, nn.Identity | nn.Dropout):
                del part[number]
            elif number and isinstance(layer, nn.ReLU):
                layer.inplace = True  # what comes before it needs its output no more
    for weights in changed.parameters():
        if weights.ndim == _PICTURES:
            weights.data = weights.data.contiguous(memory_format=torch.channels_last)
    changed.requires_grad_(False)
    if isinstance(changed, PacketCnn | MiniFlowPicNet):
        changed.prepare()
    return changed


def _fold(layers: nn.Sequential) -> None:
    """Fold batch norms into the convolutions right before them."""
    for first, second in pairwise(range(len(layers))):
        convolution, norm = layers[first], layers[second]
        if isinstance(convolution, nn.Conv1d | nn.Conv2d) and isinstance(
            norm, nn.BatchNorm1d | nn.BatchNorm2d
        ):
            layers[first] = fuse_conv_bn_eval(convolution, norm)
            layers[second] = nn.Identity()


def _flatten_convolutions(layers: nn.Sequential) -> None:
    for index, layer in enumerate(layers):
        if isinstance(layer, nn.Conv1d):
            layers[index] = _FlatConv(layer)


class _FlatConv(nn.Module):
    """A Conv1d as a Conv2d over pictures of height 1."""

    def __init__(self, layer: nn.Conv1d) -> None:
        super().__init__()
        self.layer = nn.Conv2d(
            layer.in_channels,
            layer.out_channels,
            (1, layer.kernel_size[0]),
            stride=(1, layer.stride[0]),
            padding=(0, int(layer.padding[0])),
            dilation=(1, layer.dilation[0]),
            groups=layer.groups,
            bias=layer.bias is not None,
        )
        self.layer.weight = nn.Parameter(layer.weight.unsqueeze(2))
        self.layer.bias = layer.bias

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (B, channels, length) of (B, channels, length)."""
        maps: Tensor = self.layer(inputs.unsqueeze(2))
        return maps.squeeze(2)
