"""The networks that a bundle may name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

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
