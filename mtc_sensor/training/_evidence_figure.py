"""The picture of what decided a verdict; needs matplotlib."""

from __future__ import annotations

from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mtc_sensor.evidence import Evidence
from mtc_sensor.features.spec import ByteMatrixSpec, FeatureSpec, FlowPicSpec
from mtc_sensor.flow import FlowBatch

_DPI = 100
_FOR_AND_AGAINST = "PuOr_r"
"""Orange for, violet against; safe for all eyes."""
_BARS = 20
_TITLE = 150
"""Characters in a line of the title."""


def evidence_figure(
    evidence: Evidence, spec: FeatureSpec, record: FlowBatch, title: str, said: str
) -> Figure:
    """Lay out what each part counts for: as the input looks, or as bars."""
    figure = Figure(figsize=(14, 7), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(fill(title, _TITLE), x=0.01, ha="left", parse_math=False, fontsize=11)
    if isinstance(spec, ByteMatrixSpec):
        _bytes(figure, evidence, spec, record)
    elif isinstance(spec, FlowPicSpec):
        _pictures(figure, evidence, spec)
    else:
        _bars(figure.add_subplot(), evidence, said)
    return figure


def _effects(evidence: Evidence) -> NDArray[np.float64]:
    """Spread each part's effect over its values; NaN where nothing is."""
    spread = np.full(evidence.inputs.shape, np.nan)
    for part, effect in enumerate(evidence.effect.tolist()):
        spread[evidence.parts.where(part)] = effect
    return spread


def _norm(evidence: Evidence) -> TwoSlopeNorm:
    most = max(float(np.abs(evidence.effect).max(initial=0.0)), 0.1)
    return TwoSlopeNorm(0, -most, most)


def _bytes(figure: Figure, evidence: Evidence, spec: ByteMatrixSpec, record: FlowBatch) -> None:
    """Packets are rows, bytes columns; what is masked or absent stays white."""
    axes = figure.add_subplot()
    packets, width = spec.shape
    image = axes.imshow(
        _effects(evidence)[0], cmap=_FOR_AND_AGAINST, norm=_norm(evidence), aspect="auto",
        extent=(0, width, packets + 0.5, 0.5), interpolation="none",
    )  # fmt: skip
    _write_bytes(axes, evidence)
    for packet in range(min(packets, len(record.head))):
        transport = int(record.head_l4[packet])
        if transport:
            axes.plot([transport, transport], [packet + 0.5, packet + 1.5], color="black", lw=1.2)
    axes.set_yticks(range(1, packets + 1))
    axes.set_xlabel("Byte from the IP header on (a line: where the transport header begins)")
    axes.set_ylabel("Packet of the connection")
    _bar(figure, axes, image)


def _write_bytes(axes: Axes, evidence: Evidence) -> None:
    """Write every byte as hexadecimal and, where it is printable, as a character."""
    values, effects = evidence.inputs[0], np.abs(_effects(evidence)[0])
    dark = effects > 0.6 * np.nanmax(effects, initial=0.1)
    for row, column in zip(*(axis.tolist() for axis in np.nonzero(values)), strict=True):
        byte = int(values[row, column])
        shown = chr(byte) if 32 < byte < 127 else ""
        axes.text(
            column + 0.5, row + 1, f"{byte:02x}\n{shown}", ha="center", va="center", fontsize=6.5,
            color="white" if dark[row, column] else "black", parse_math=False,
        )  # fmt: skip


def _pictures(figure: Figure, evidence: Evidence, spec: FlowPicSpec) -> None:
    """Draw the window that counts most: packets as dots over the parts' effects."""
    total = np.zeros(len(evidence.inputs))
    np.add.at(total, evidence.parts.input, np.abs(evidence.effect))
    window = int(total.argmax())
    effects, counts = _effects(evidence)[window], evidence.inputs[window]
    names = ("originator to responder", "responder to originator")
    all_axes = np.atleast_1d(figure.subplots(1, spec.channels, sharey=True))
    for channel, axes in enumerate(all_axes):
        image = axes.imshow(
            effects[channel], cmap=_FOR_AND_AGAINST, norm=_norm(evidence), aspect="auto",
            extent=(0, spec.window_s, 0, spec.max_size), origin="lower", interpolation="none",
        )  # fmt: skip
        y, x = np.nonzero(counts[channel])
        cell = spec.window_s / spec.resolution, spec.max_size / spec.resolution
        size = 12 + 12 * np.log2(counts[channel][y, x].astype(np.float64))
        axes.scatter((x + 0.5) * cell[0], (y + 0.5) * cell[1], s=size, c="black", linewidths=0)
        direction = names[channel] if spec.direction else "both directions"
        packets = int(counts[channel].sum())
        axes.set_title(f"{direction}: {packets:,} packet{'s'[: packets != 1]}", fontsize=10)
        axes.set_xlabel(f"Seconds, picture {int(evidence.numbers[window]) + 1} of the record")
    all_axes[0].set_ylabel("Packet size (bytes)")
    _bar(figure, list(all_axes), image)


def _bars(axes: Axes, evidence: Evidence, said: str) -> None:
    order = np.argsort(np.abs(evidence.effect))[-_BARS:]
    effect = evidence.effect[order]
    colors = np.where(effect > 0, "#b35806", "#542788")
    axes.barh([evidence.parts.name(i) for i in order.tolist()], effect, color=colors)
    axes.axvline(0, color="black", lw=0.8)
    axes.set_xlabel(f"Log odds of {said} that are lost without it")


def _bar(figure: Figure, axes: Axes | list[Axes], image: object) -> None:
    bar = figure.colorbar(image, ax=axes, pad=0.01, fraction=0.03, aspect=40)  # type: ignore[arg-type]
    bar.set_label("log odds lost without it: orange speaks for the verdict")
