"""Networks over the first bytes of a flow's first packets: (B, packets, bytes) in, logits out."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


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
