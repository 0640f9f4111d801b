"""`PacketCnn` for serving on a CPU, with batch norms folded: the same numbers in few steps.

What a batch costs whatever its size decides the latency, and torch's convolutions cost a fifth of a
millisecond each before they compute anything. So the first is looked up, byte by byte, and the
others are products of matrices in place: with a stride of 2 and 5 taps, two neighbouring rows of
the input, then the next two, then one more add to an output. Between packets lie rows of zeros,
which both see as padding, so that all packets are one long row.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mtc_sensor.models._packets import STRIDE, TAPS, join, look_up, rectify

_PAD = TAPS // 2
_WORD = 8


class FastPacketCnn:
    """The part of a `PacketCnn` before its output.

    Parameters
    ----------
    bytes_, position
        (256, e) what stands for a byte, and (width, e) for a place.
    convolutions
        The three over a packet's bytes, (maps, channels, 1, `TAPS`) each.
    dense
        The layer after them.
    joining
        The convolution over packets, (hidden, hidden, 1, 3).
    """

    def __init__(
        self,
        bytes_: Tensor,
        position: Tensor,
        convolutions: list[nn.Conv2d],
        dense: nn.Linear,
        joining: nn.Conv2d,
    ) -> None:
        first, *others = convolutions
        kernel = first.weight.squeeze(2)
        silent = functional.conv1d(
            position.T[None], kernel, first.bias, stride=STRIDE, padding=_PAD
        )[0].T
        table = functional.pad(torch.einsum("bc,mck->kbm", bytes_, kernel), (0, 0, 0, 1))
        self._table, self._silent = (part.detach().contiguous().numpy() for part in (table, silent))
        self._stages = [_Stage.of(layer) for layer in others]
        maps, self._places = first.out_channels, -(-len(position) // STRIDE**3)
        self._dense = dense.weight.view(-1, maps, self._places).transpose(1, 2).flatten(1).T
        self._dense = self._dense.contiguous()
        self._dense_bias = dense.bias
        # One after the other: what a packet adds to the next one, its own, and the one before.
        self._joining = joining.weight.squeeze(2).permute(1, 2, 0).flatten(1).contiguous()
        assert joining.bias is not None
        self._joining_bias = joining.bias.detach().numpy()

    def __call__(self, matrix: Tensor) -> Tensor:
        """Return (B, 2 hidden) of (B, packets, bytes) uint8; equal packets are computed once.

        Of the first packets of connections a third and more are equal to others, once addresses and
        the like are masked.
        """
        flows, packets, width = matrix.shape
        raw = np.ascontiguousarray(matrix.numpy()).reshape(-1, width)
        vectors, which = self._vectors(raw)
        added = vectors @ self._joining
        out = np.empty((flows, 2 * len(self._joining_bias)), np.float32)
        which = which.reshape(flows, packets)
        join(which, vectors.numpy(), added.numpy(), self._joining_bias, out)
        return torch.from_numpy(out)

    def _vectors(self, rows: NDArray[np.uint8]) -> tuple[Tensor, NDArray[np.int64]]:
        """Return (v, hidden) of the distinct ones of (n, bytes) packets; (n,) which each is."""
        outputs, maps = self._silent.shape
        # A place more after two further stages, so that there are zeros enough in all.
        slot = (self._places + 1) * STRIDE**2
        padded = np.empty((_PAD + len(rows) * slot + _PAD, maps), np.float32)
        padded[:_PAD] = 0
        found = padded[_PAD:-_PAD].reshape(len(rows), slot, maps)
        which = np.empty(len(rows), np.int64)
        count = look_up(rows, _words(rows), self._table, self._silent, found, which)
        now = padded[: _PAD + count * slot + _PAD]
        for stage in self._stages:
            outputs, slot = -(-outputs // STRIDE), slot // STRIDE
            now = stage.convolved(now, slot, outputs)
        flat = torch.from_numpy(now[_PAD:-_PAD].reshape(count, slot * maps))
        seen = flat[:, : self._dense.shape[0]]
        return torch.addmm(self._dense_bias, seen, self._dense).relu_(), which


class _Stage(NamedTuple):
    """A convolution and ReLU."""

    bias: NDArray[np.float32]
    weights: tuple[Tensor, ...]
    """(2 channels, maps) of two rows of the input, then of the next two, (channels, maps) of one
    more."""

    @classmethod
    def of(cls, layer: nn.Conv2d) -> _Stage:
        taps = layer.weight.detach().squeeze(2).permute(2, 1, 0)
        assert layer.bias is not None
        parts = (taps[begin : begin + STRIDE].flatten(0, 1) for begin in range(0, TAPS, STRIDE))
        return cls(layer.bias.detach().numpy(), tuple(part.contiguous() for part in parts))

    def convolved(
        self, padded: NDArray[np.float32], slot: int, outputs: int
    ) -> NDArray[np.float32]:
        """Return slots of `slot` rows, of which `outputs` are not 0, padded as before."""
        pairs = padded.reshape(-1, STRIDE * padded.shape[1])
        steps, rows = torch.from_numpy(pairs), len(pairs) - _PAD
        found = np.empty((_PAD + rows + _PAD, len(self.bias)), np.float32)
        out = torch.from_numpy(found)[_PAD:-_PAD]
        torch.mm(steps[:rows], self.weights[0], out=out)
        for number, weights in enumerate(self.weights[1:], 1):
            out.addmm_(steps[number : number + rows, : weights.shape[0]], weights)
        rectify(found, self.bias, slot, outputs)
        return found


def _words(rows: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return rows as numbers of 64 bits, zeros filling up the last."""
    room = -rows.shape[1] % _WORD
    return (np.pad(rows, ((0, 0), (0, room))) if room else rows).view(np.uint64)
