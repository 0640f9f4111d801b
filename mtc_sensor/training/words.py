"""How the figures of an evaluation are called and put into sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtc_sensor.training.evaluation import Evaluation

TITLES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "auroc": "AUROC",
    "tpr@0.01": "TPR at FPR 1e-2",
    "tpr@0.001": "TPR at FPR 1e-3",
    "tpr@0.0001": "TPR at FPR 1e-4",
    "ece": "calibration error",
    "unknown_rate": "verdicts unknown",
}
"""What people see for a figure's name."""


RIVALS = {"nearest_neighbour": "1-NN", "boosted_trees": "boosted trees"}
"""What people see for a baseline's name."""


def remarks(done: Evaluation) -> list[str]:
    """Say what the tables do not: what so few records can show, alerts, time and cost."""
    answers, speed = done.model.answers, done.speed
    lines = []
    if done.protocol == "paper":
        lines.append(
            "PAPER PROTOCOL: split at random, as published figures are; it flatters, and is only "
            "for comparison with them."
        )
    if answers.space.malicious.any():
        benign = int((~answers.positive).sum())
        lines.append(
            f"{benign:,} benign records: FPR below {1 / max(benign, 1):.1g} means no false alarm."
        )
    if done.verdicts and answers.positive.any():
        told = done.verdicts
        lines.append(
            f"At the bundle's threshold: {told['flows_detected']:.3f} of malicious flows and "
            f"{told['captures_detected']:.3f} of their captures found; {told['false_alarms']:.4f} "
            f"of benign flows and {told['benign_captures_accused']:.3f} of their captures accused."
        )
    if done.strange:
        lines.append(
            f"{done.strange['records']:,.0f} records have labels that the model does not know: "
            f"novelty finds {done.strange['found_at_0.05']:.3f} of them where it takes 5 % of the "
            f"others for such (AUROC {done.strange['auroc']:.3f})."
        )
    lines.append(
        f"Verdict after {speed.packets[0]:.0f} packets and {speed.seconds[0]:.2f} s (median; 95 %: "
        f"{speed.packets[1]:.0f}, {speed.seconds[1]:.1f} s); {speed.us_per_flow:.0f} us per flow."
    )
    return lines


def number(value: float) -> str:
    """Write a figure; empty if it is not defined."""
    return "" if math.isnan(value) else f"{value:.3f}"
