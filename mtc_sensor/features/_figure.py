"""The figure of a FlowPic; the one module that needs matplotlib."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from mtc_sensor.features.spec import FlowPicSpec

_DPI = 100
_SMALLEST = 0.006, 0.01
"""Least width and height of a mark, as parts of the axes: single cells of 1500 would vanish."""


class _Channel(NamedTuple):
    """How a channel looks: one hue, light for few packets and dark for many; safe for all eyes."""

    label: str
    up: int
    """1 where sizes go up from the middle line, -1 where they go down."""
    tints: tuple[str, str, str]


_BOTH = (_Channel("both directions", 1, ("#6cc4a6", "#009e73", "#00382a")),)
_EACH = (
    _Channel("originator to responder (upwards)", 1, ("#74b6e2", "#0072b2", "#00243a")),
    _Channel("responder to originator (downwards)", -1, ("#f4a468", "#d55e00", "#4a1c00")),
)


def flowpic_figure(
    image: NDArray[np.uint16], spec: FlowPicSpec, title: str, pixels: tuple[int, int]
) -> Figure:
    """Lay out a (channels, R, R) picture: time to the right, sizes up, the responder's down."""
    figure = Figure(figsize=(pixels[0] / _DPI, pixels[1] / _DPI), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", parse_math=False)
    axes = figure.add_subplot()
    channels = _EACH if spec.direction else _BOTH
    _frame(axes, spec, channels)
    norm = LogNorm(1, max(int(image.max(initial=0)), 10))
    label = "packets in a cell"
    for channel, counts in reversed(list(zip(channels, image, strict=True))):
        marks = _marks(counts, spec, channel, len(channels), norm)
        axes.add_collection(marks)
        bar = figure.colorbar(marks, ax=axes, pad=0.01, fraction=0.03, aspect=40, format="%d")
        bar.set_label(label)
        label = ""  # the outer bar's holds for both
    _legend(axes, channels, image)
    return figure


def _marks(
    counts: NDArray[np.uint16],
    spec: FlowPicSpec,
    channel: _Channel,
    channels: int,
    norm: LogNorm,
) -> PolyCollection:
    """Return the cells that are not empty as rectangles, the fullest on top."""
    y, x = np.nonzero(counts)
    order = np.argsort(counts[y, x], kind="stable")
    y, x = y[order], x[order]
    span = np.array([spec.window_us / 1e6, spec.max_size])
    cell = span / spec.resolution
    side = np.maximum(cell, span * (1, channels) * _SMALLEST)
    centre = (np.stack([x, y], axis=1) + 0.5) * cell
    square = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    corners = (centre[:, None] + square * side) * (1, channel.up)
    colors = LinearSegmentedColormap.from_list(channel.label, channel.tints)
    return PolyCollection(
        corners, array=counts[y, x], cmap=colors, norm=norm, linewidths=0, clip_on=False, zorder=3
    )


def _frame(axes: Axes, spec: FlowPicSpec, channels: tuple[_Channel, ...]) -> None:
    size = "IP packet size" if spec.size == "ip" else "Payload size"
    axes.set_xlim(0, spec.window_us / 1e6)
    axes.set_ylim(-spec.max_size if len(channels) == 2 else 0, spec.max_size)
    axes.set_xlabel("Time since the window's start (seconds)")
    axes.set_ylabel(f"{size} (bytes)")
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    axes.grid(color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.axhline(0, color="#606060", linewidth=0.8)


def _legend(axes: Axes, channels: tuple[_Channel, ...], image: NDArray[np.uint16]) -> None:
    patches = [
        Patch(color=channel.tints[1], label=f"{channel.label}: {int(counts.sum()):,} packets")
        for channel, counts in zip(channels, image, strict=True)
    ]
    axes.legend(handles=patches, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
