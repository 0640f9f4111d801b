"""Pictures of a training run: learning curves, and who is taken for whom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.training.checkpoint import History

_CURVES = {
    "loss": ("loss", "val_loss"),
    "accuracy": ("train_accuracy", "val_accuracy"),
    "macro-F1, AUROC": ("val_macro_f1", "val_auroc"),
}


def draw_curves(path: Path, history: History) -> None:
    """Write loss, accuracy and F1 of every epoch as a PNG."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - extra `plot`

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    epochs = np.arange(1, len(history) + 1)
    for axes, (title, names) in zip(figure.subplots(1, 3), _CURVES.items(), strict=True):
        for name in names:
            values = [figures[name] for figures in history if name in figures]
            if values:
                axes.plot(epochs, values, label=name.replace("_", " "), marker=".")
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=110)


def draw_confusion(path: Path, table: NDArray[np.float64], labels: Sequence[str]) -> None:
    """Write a (labels, labels) table of counts as a PNG; colours are shares of the real label."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - extra `plot`

    side = max(4.0, 1.6 + 0.55 * len(labels))
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = np.arange(len(labels))
    axes.set_xticks(ticks, labels, rotation=60, ha="right")
    axes.set_yticks(ticks, labels)
    axes.set(xlabel="predicted", ylabel="real")
    for row, column in np.argwhere(table > 0).tolist():
        colour = "white" if shares[row, column] > 0.5 else "black"
        text = f"{table[row, column]:.0f}"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=7)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the real label")
    figure.savefig(path, dpi=110)
