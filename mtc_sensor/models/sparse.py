"""The first stage of a network over large pictures, without the pictures.

Of 1500 x 1500 cells some hundred hold packets, and with kernels of 10 and strides of 5 each of them
reaches 2 x 2 outputs of a convolution. All others are the bias. So only what packets reach is
computed, and pooled into maps a tenth as wide.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_POOL = 2


def counted(position: Tensor, pictures: int, shape: tuple[int, int, int]) -> Tensor:
    """Return packets per cell as a sparse (pictures, channels, height, width) tensor.

    `position` (s,) is that of each packet in a dense one, counted flat.
    """
    cells, count = torch.unique(position, return_counts=True)
    where = torch.stack(torch.unravel_index(cells, (pictures, *shape)))
    return torch.sparse_coo_tensor(
        where, count, (pictures, *shape), is_coalesced=True, check_invariants=False
    )


def convolved_and_pooled(pictures: Tensor, layer: nn.Conv2d) -> Tensor:
    """Return what convolution, ReLU and MaxPool2d(2) make of log(1 + n).

    Parameters
    ----------
    pictures
        (B, channels, height, width) sparse counts, coalesced.
    layer
        The convolution: square kernel, stride and padding, no groups, with a bias.

    Returns
    -------
    Tensor
        (B, out_channels, h, w), up to rounding as the dense layers give it.
    """
    assert layer.bias is not None
    rows, columns = (_outputs(side, layer) // _POOL for side in pictures.shape[2:])
    silent = torch.relu(layer.bias)
    (picture, y, x), value = _reached(pictures, layer)
    cell = (picture * rows + y // _POOL) * columns + x // _POOL
    inside = (y < rows * _POOL) & (x < columns * _POOL)  # an odd last one is not pooled
    cells, place = torch.unique(cell[inside], return_inverse=True)
    pooled = silent.repeat(len(cells), _POOL * _POOL, 1)
    pooled[place, (y % _POOL * _POOL + x % _POOL)[inside]] = value[inside]
    maps = silent.repeat(len(pictures) * rows * columns, 1)
    maps[cells] = pooled.amax(1)
    return maps.view(len(pictures), rows, columns, -1).permute(0, 3, 1, 2)


def _reached(pictures: Tensor, layer: nn.Conv2d) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return the outputs that packets reach, (p,) picture, row and column, and (p, out) values."""
    assert layer.bias is not None
    picture, channel, y, x = pictures.indices()
    value = torch.log1p(pictures.values().to(layer.weight.dtype))
    height, width = (_outputs(side, layer) for side in pictures.shape[2:])
    row, y_tap = _windows(y, layer)
    column, x_tap = _windows(x, layer)
    row, y_tap, column, x_tap = row[:, :, None], y_tap[:, :, None], column[:, None], x_tap[:, None]
    side = layer.kernel_size[0]
    there = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    there &= (y_tap < side) & (x_tap < side)
    output = (picture[:, None, None] * height + row) * width + column
    tap = (channel[:, None, None] * side + y_tap) * side + x_tap
    outputs, place = torch.unique(output[there], return_inverse=True)
    weight = layer.weight.permute(1, 2, 3, 0).reshape(-1, layer.out_channels)
    each = weight[tap[there]] * value[:, None, None].expand_as(tap)[there][:, None]
    total = layer.bias.repeat(len(outputs), 1).index_add_(0, place, each)
    return torch.unravel_index(outputs, (len(pictures), height, width)), torch.relu_(total)


def _outputs(side: int, layer: nn.Conv2d) -> int:
    padding = int(layer.padding[0])
    return (side + 2 * padding - layer.kernel_size[0]) // layer.stride[0] + 1


def _windows(at: Tensor, layer: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Return (s, k) the outputs along one side that positions are in, and which tap sees them."""
    stride = layer.stride[0]
    back = torch.arange(-(-layer.kernel_size[0] // stride), device=at.device)
    padded = (at + int(layer.padding[0]))[:, None]
    first = padded // stride - back
    return first, padded - first * stride
