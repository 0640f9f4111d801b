"""`mtc-sensor calibrate`: a bundle's calibration and thresholds, fitted to labelled captures."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mtc_sensor.cli.labelled import labelled_options, read_labelled
from mtc_sensor.errors import MtcError

if TYPE_CHECKING:
    from mtc_sensor.training.thresholds import AlertBudget
    from mtc_sensor.training.trust import Trust


@click.command()
@click.argument("bundle")
@labelled_options(required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the calibrated bundle; the one that was read stays as it is.",
)
@click.option(
    "--split",
    metavar="NAME",
    help="Rows of the manifest to fit to [default: all but train; all if none else].",
)
@click.option(
    "--alerts-per-day",
    type=click.FloatRange(0, min_open=True),
    default=20.0,
    show_default=True,
    help="False alarms that are allowed.",
)
@click.option("--flows-per-day", type=click.FloatRange(0, min_open=True), default=1e7,
              show_default=True, help="Benign flows that the model judges in a day.")  # fmt: skip
def calibrate(
    bundle: str,
    data: Path,
    task_name: str | None,
    store: Path | None,
    workers: int,
    out: Path,
    split: str | None,
    alerts_per_day: float,
    flows_per_day: float,
) -> int:
    """Fit a bundle's calibration, unknown limit and alert threshold to your own captures.

    BUNDLE is a shipped bundle's name or a folder. The manifest's captures may not be among those
    that it was trained on. With benign captures alone only the threshold is set: so many alerts a
    day, at so many flows.
    """
    from mtc_sensor.inference import load_models  # noqa: PLC0415 - these load torch
    from mtc_sensor.training.evaluation import sides  # noqa: PLC0415
    from mtc_sensor.training.thresholds import AlertBudget  # noqa: PLC0415
    from mtc_sensor.training.trust import calibrate as fit  # noqa: PLC0415
    from mtc_sensor.training.trust import in_labels_of  # noqa: PLC0415

    model = load_models([bundle])[0]
    try:
        budget = AlertBudget(alerts_per_day, flows_per_day)
    except ValueError as fault:
        raise click.UsageError(str(fault)) from fault
    task, labelled = read_labelled(model, data, store, task_name, workers)
    val, train = sides(model, labelled, split, "honest")
    val = in_labels_of(model, task, val)
    _copy(model.bundle.path, out)
    told = fit(out, None if train is None else train.flows, val, budget)
    for line in _summary(told, budget):
        click.echo(line)
    return 0


def _copy(bundle: Path, out: Path) -> None:
    try:
        shutil.copytree(bundle, out)
    except FileExistsError as fault:
        raise MtcError(f"{out}: is there already: choose a new folder") from fault
    except OSError as fault:
        raise MtcError(f"{out}: cannot be written: {fault}: choose another folder") from fault


def _summary(trust: Trust, budget: AlertBudget) -> list[str]:
    lines = []
    if trust.fit is None:
        lines.append("calibration: kept, because these captures do not have labels enough")
    else:
        fit = trust.fit
        lines.append(
            f"calibration error: {fit.before:.4f} before, {fit.error:.4f} after, on captures left "
            f"out of the fit ({fit.floor:.4f} is what chance gives so few records); debiased (root "
            f"mean square) {fit.debiased:.4f}, by captures {fit.between[0]:.3f} to "
            f"{fit.between[1]:.3f}"
        )
        if trust.config.policy.unknown_above is not None:
            lines.append(f"unknown: above a novelty of {trust.config.policy.unknown_above:.4f}")
    threshold = trust.threshold
    if threshold is not None:
        basis = "on a fitted tail, beyond what they can show" if threshold.extrapolated else "seen"
        lines.append(
            f"threshold: {threshold.value:.7f} for {budget.alerts_per_day:g} alerts in "
            f"{budget.flows_per_day:g} flows a day, a rate of {budget.rate:.2g}, from "
            f"{threshold.negatives:,} benign records: {basis}"
        )
    return lines
