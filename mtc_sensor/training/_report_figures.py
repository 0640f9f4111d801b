"""The plots of an evaluation; the one module of the report that needs matplotlib."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mtc_sensor.training.answers import Answers, Measured
from mtc_sensor.training.evaluation import Evaluation
from mtc_sensor.training.metrics import Ranking, reliability
from mtc_sensor.training.words import RIVALS

_BLUE, _ORANGE, _GREEN = "#0072b2", "#d55e00", "#009e73"
_COLORS = (_BLUE, _ORANGE, _GREEN)
_MOST_LABELS = 30


def plots(evaluation: Evaluation) -> dict[str, bytes]:
    """Return caption -> PNG."""
    answers = evaluation.model.answers
    made = {"Confidence and accuracy": _png(_reliability, evaluation)}
    if answers.space.malicious.any() and answers.positive.any() and not answers.positive.all():
        made["Found, by false alarms"] = _png(_roc, evaluation)
        made["Scores of benign and malicious records"] = _png(_scores, evaluation)
    if len(answers.space.labels) <= _MOST_LABELS:
        made["Real and predicted labels"] = _png(_confusion, evaluation)
    return made


def _png(draw: object, evaluation: Evaluation) -> bytes:
    figure = Figure(figsize=(5.6, 4.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure.add_subplot(), evaluation)  # type: ignore[operator]
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def _everybody(evaluation: Evaluation) -> list[tuple[str, Measured]]:
    others = evaluation.baselines or {}
    names = [(RIVALS[name], measured) for name, measured in others.items()]
    return [(evaluation.bundle, evaluation.model), *names]


def _roc(axes: Axes, evaluation: Evaluation) -> None:
    for (name, measured), color in zip(_everybody(evaluation), _COLORS, strict=False):
        answers = measured.answers
        alarms, hits = Ranking(answers.malice, answers.positive).curve()
        axes.step(alarms, hits, where="post", label=name, color=color)
    benign = int((~evaluation.model.answers.positive).sum())
    axes.axvspan(1e-5, 1 / benign, color="#eeeeee", zorder=0)
    axes.text(1 / benign, 0.02, " one benign record", fontsize=8, color="#606060")
    axes.set_xscale("log")
    axes.set_xlim(min(1e-4, 0.3 / benign), 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("False alarms, share of benign records")
    axes.set_ylabel("Malicious records found")
    axes.legend(loc="lower right", fontsize=8)
    axes.grid(color="#e4e4e4", linewidth=0.6)


def _reliability(axes: Axes, evaluation: Evaluation) -> None:
    answers = evaluation.model.answers
    known = answers.label >= 0
    bins = reliability(answers.probabilities[known], answers.label[known])
    axes.plot([0, 1], [0, 1], color="#808080", linewidth=0.8)
    axes.scatter(
        bins.confidence, bins.accuracy, s=400 * bins.share + 8, color=_BLUE, alpha=0.8, zorder=3
    )
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.05)
    axes.set_xlabel("Confidence (larger dots: more records)")
    axes.set_ylabel("Accuracy")
    axes.grid(color="#e4e4e4", linewidth=0.6)


def _scores(axes: Axes, evaluation: Evaluation) -> None:
    answers = evaluation.model.answers
    edges = np.linspace(answers.malice.min() - 1e-6, answers.malice.max() + 1e-6, 60).tolist()
    for name, rows, color in (
        ("benign", ~answers.positive, _BLUE),
        ("malicious", answers.positive, _ORANGE),
    ):
        axes.hist(answers.malice[rows], edges, color=color, alpha=0.6, label=name)
    axes.set_yscale("log")
    axes.set_xlabel("Log odds of malicious")
    axes.set_ylabel("Records")
    axes.legend(fontsize=8)


def _confusion(axes: Axes, evaluation: Evaluation) -> None:
    table, labels = evaluation.model.table, _occurring(evaluation.model.answers)
    names = [evaluation.model.answers.space.labels[i] for i in labels]
    table = table[np.ix_(labels, labels)]
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    size = 8 if len(names) <= 12 else 5
    for (row, column), count in np.ndenumerate(table):
        if count:
            color = "white" if shares[row, column] > 0.6 else "black"
            text = f"{int(count)}"
            axes.text(column, row, text, ha="center", va="center", fontsize=size, color=color)
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=size)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.set_xlabel("Predicted")
    axes.set_ylabel("Real")


def _occurring(answers: Answers) -> list[int]:
    known = answers.label >= 0
    seen = np.union1d(answers.label[known], answers.probabilities[known].argmax(axis=1))
    return [int(label) for label in seen]
