"""Networks over the first bytes of a flow's first packets: (B, packets, bytes) in, logits out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mtc_sensor.models._lookup import look_up

_ROWS = 16
_STRIDE = 2
"""Of the convolutions over a packet's bytes."""


class ByteCnnLstm(nn.Module):
    """The CNN + LSTM of Malicious-Traffic-Classifier, with logits instead of log-probabilities.

    Two stages of Conv2d (2, 4), MaxPool (2, 3) stride 1, batch norm and ReLU turn the matrix into
    64 feature maps; the LSTM reads the maps one after the other, as published. Bytes are scaled to
    0..1, which the original left out. 810,939 parameters for (8, 80) and 11 labels.

    Parameters
    ----------
    shape
        Packets and bytes per packet.
    labels
        Width of the output.

    Raises
    ------
    ValueError
        If the matrix is too small for the two stages.

    Notes
    -----
    Raw bytes as an image: Wang, Zhu, Zeng, Ye, Sheng: "Malware traffic classification using
    convolutional neural network for representation learning", ICOIN 2017 (USTC-TFC2016). The layers
    are Malicious-Traffic-Classifier's own.
    """

    def __init__(self, shape: tuple[int, int], labels: int) -> None:
        super().__init__()
        packets, width = shape
        if packets < 5 or width < 11:
            raise ValueError(f"shape {shape}: needs at least 5 packets and 11 bytes")
        self.stage1 = _stage(1, 32)
        self.stage2 = _stage(32, 64)
        self.lstm = nn.LSTM((packets - 4) * (width - 10), 100, batch_first=True)
        self.hidden = nn.Linear(64 * 100, 100)
        self.output = nn.Linear(100, labels)

    def forward(self, matrix: Tensor) -> Tensor:
        """Return (B, labels) logits of (B, packets, bytes) uint8."""
        scaled = matrix.unsqueeze(1).to(self.output.weight.dtype) / 255
        maps = self.stage2(self.stage1(scaled)).flatten(2)
        states, _ = self.lstm(maps)
        hidden = functional.relu(self.hidden(functional.relu(states.flatten(1))))
        logits: Tensor = self.output(hidden)
        return logits


def _stage(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, (2, 4)),
        nn.MaxPool2d((2, 3), stride=1),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


class PacketCnn(nn.Module):
    """One convolutional network for every packet, then one over the packets; no recurrence.

    A byte is looked up, not scaled: 0x16 and 0x17 are neighbours as numbers but not in meaning. Its
    position is learned too, because headers are at fixed places. Three Conv1d k5 s2 shrink a
    packet's bytes to an eighth, a dense layer makes a vector of it; Conv1d k3 joins neighbouring
    packets, and the maximum and the mean over the packets go to the output.

    Parameters
    ----------
    shape
        Packets and bytes per packet.
    labels
        Width of the output.
    embedding, channels, hidden
        Width of a byte, of the packet's feature maps, and of a packet's vector.

    Notes
    -----
    Byte embeddings: Raff, Barker, Sylvester, Brandon, Catanzaro, Nicholas: "Malware Detection by
    Eating a Whole EXE", AAAI Workshops 2018. Global pooling: Lin, Chen, Yan: "Network In Network",
    ICLR 2014.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        labels: int,
        embedding: int = 8,
        channels: int = 32,
        hidden: int = 64,
    ) -> None:
        super().__init__()
        width = shape[1]
        self.byte = nn.Embedding(256, embedding)
        self.position = nn.Parameter(torch.zeros(width, embedding))
        self.packet = nn.Sequential(
            *_halving(embedding, channels),
            *_halving(channels, channels),
            *_halving(channels, channels),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(channels * -(-width // 8), hidden),
            nn.ReLU(),
        )
        self.flow = nn.Sequential(
            nn.Conv1d(hidden, hidden, 3, padding=1), nn.BatchNorm1d(hidden), nn.ReLU()
        )
        self.output = nn.Sequential(nn.Dropout(0.3), nn.Linear(2 * hidden, labels))
        self._tables: _Tables | None = None

    def tabulate(self) -> None:
        """Make tables of the first convolution, for serving; its batch norm has to be in it.

        On a CPU looking bytes up there takes half as long as embedding and convolving them.
        """
        first = next(part for part in self.packet.modules() if isinstance(part, nn.Conv2d))
        weights = first.weight.squeeze(2)
        silent = functional.conv1d(
            self.position.T[None],
            weights,
            first.bias,
            stride=_STRIDE,
            padding=weights.shape[2] // 2,
        )
        added = torch.einsum("bc,mck->kbm", self.byte.weight, weights)
        columns = (added, silent[0].T)
        self._tables = _Tables(*(column.detach().contiguous().numpy() for column in columns))

    def forward(self, matrix: Tensor) -> Tensor:
        """Return (B, labels) logits of (B, packets, bytes) uint8."""
        flows, packets, width = matrix.shape
        vectors = self._vectors(matrix.reshape(flows * packets, width))
        vectors = vectors.view(flows, packets, -1).transpose(1, 2)
        joined = vectors + self.flow(vectors)
        logits: Tensor = self.output(torch.cat([joined.amax(2), joined.mean(2)], 1))
        return logits

    def _vectors(self, rows: Tensor) -> Tensor:
        """Return (n, hidden) of (n, bytes) packets; equal ones are computed once.

        Of the first packets of connections a third and more are equal to others, once addresses and
        the like are masked. In training they all count for the statistics of the batch; on a GPU
        finding them takes longer than computing them.
        """
        if self.training or rows.device.type != "cpu" or rows.dtype != torch.uint8:
            return self._packets(rows)
        distinct, which = _distinct(rows)
        if self._tables is None:
            return self._packets(distinct)[which]
        return self._looked_up(distinct, self._tables)[which]

    def _packets(self, rows: Tensor) -> Tensor:
        vectors: Tensor = self.packet((self.byte(rows.int()) + self.position).transpose(1, 2))
        return vectors

    def _looked_up(self, rows: Tensor, tables: _Tables) -> Tensor:
        maps = np.empty((len(rows), *tables.silent.shape), np.float32)
        look_up(rows.numpy(), *tables, _STRIDE, maps)
        vectors: Tensor = self.packet[2:](torch.from_numpy(maps).transpose(1, 2))
        return vectors


class _Tables(NamedTuple):
    """A convolution over bytes; see `look_up`."""

    added: NDArray[np.float32]
    silent: NDArray[np.float32]


def _distinct(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the different ones of (n, bytes) rows, and (n,) which of them each row is.

    Zeros fill them up to a multiple of `_ROWS`: torch keeps memory for every size that it has met.
    """
    raw = np.ascontiguousarray(rows.numpy())
    keys = raw.view(f"V{raw.shape[1]}").ravel()
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    size = -(-len(first) // _ROWS) * _ROWS
    distinct = np.zeros((size, raw.shape[1]), np.uint8)
    distinct[: len(first)] = raw[first]
    return torch.from_numpy(distinct), torch.from_numpy(which)


def _halving(channels_in: int, channels_out: int) -> list[nn.Module]:
    return [
        nn.Conv1d(channels_in, channels_out, 5, stride=_STRIDE, padding=2),
        nn.BatchNorm1d(channels_out),
        nn.ReLU(),
    ]
