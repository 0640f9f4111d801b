"""Networks over the first bytes of a flow's first packets: (B, packets, bytes) in, logits out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mtc_sensor.models._packets import STRIDE, TAPS
from mtc_sensor.models.fast_packet_cnn import FastPacketCnn


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
        self._fast: FastPacketCnn | None = None

    def prepare(self) -> None:
        """Make what serving on a CPU goes by; batch norms have to be folded into convolutions."""
        *first, joining = [part for part in self.modules() if isinstance(part, nn.Conv2d)]
        dense = next(part for part in self.packet if isinstance(part, nn.Linear))
        self._fast = FastPacketCnn(self.byte.weight, self.position, first, dense, joining)

    def forward(self, matrix: Tensor) -> Tensor:
        """Return (B, labels) logits of (B, packets, bytes) uint8."""
        fast = self._fast if matrix.device.type == "cpu" else None
        logits: Tensor = self.output((fast or self._joined)(matrix))
        return logits

    def _joined(self, matrix: Tensor) -> Tensor:
        flows, packets, width = matrix.shape
        embedded = self.byte(matrix.reshape(flows * packets, width).int()) + self.position
        vectors = self.packet(embedded.transpose(1, 2)).view(flows, packets, -1).transpose(1, 2)
        joined = vectors + self.flow(vectors)
        return torch.cat([joined.amax(2), joined.mean(2)], 1)


def _halving(channels_in: int, channels_out: int) -> list[nn.Module]:
    return [
        nn.Conv1d(channels_in, channels_out, TAPS, stride=STRIDE, padding=TAPS // 2),
        nn.BatchNorm1d(channels_out),
        nn.ReLU(),
    ]
