"""The networks that a bundle may name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from mtc_sensor.models.byte_cnn import ByteCnnLstm, PacketCnn
from mtc_sensor.models.deep_packet import DeepPacketCnn, Mlp, StackedAutoencoder
from mtc_sensor.models.flowpic import FlowPicLeNet, MiniFlowPicNet
from mtc_sensor.models.fusion import Fusion

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "byte-cnn-lstm": ByteCnnLstm,
    "packet-cnn": PacketCnn,
    "flowpic-lenet": FlowPicLeNet,
    "flowpic-mini": MiniFlowPicNet,
    "deep-packet": DeepPacketCnn,
    "autoencoder": StackedAutoencoder,
    "mlp": Mlp,
    "fusion": Fusion,
}
"""Name in a bundle -> class, called with the input's shape, the number of labels and `args`."""


def build_network(
    name: str, shape: tuple[int, ...], labels: int, args: dict[str, Any]
) -> nn.Module:
    """Make the network `name` for inputs of `shape` (without the batch axis).

    Raises KeyError for an unknown name, and TypeError, ValueError or RuntimeError where the network
    cannot be made so.
    """
    return NETWORKS[name](shape, labels, **args)


def empty_network(
    name: str, shape: tuple[int, ...], labels: int, args: dict[str, Any]
) -> nn.Module:
    """Make the network `name` as `build_network` does, on `meta`: with shapes, without memory."""
    with torch.device("meta"), _NoValues():
        return build_network(name, shape, labels, args)


class _NoValues(TorchFunctionMode):
    """Draws no first weights from a normal distribution.

    On `meta` there are none anyway, but torch loads its compiler to find that out: a third of the
    time that a command takes to start.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        return given["tensor"] if func is nn.init.normal_ else func(*args, **given)
