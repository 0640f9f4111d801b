"""`mtc-sensor train`: a recipe and a manifest in, a bundle out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.progress import MofNCompleteColumn

from mtc_sensor.cli.options import data_option, device_option, store_option, workers_option
from mtc_sensor.cli.progress import Bar

if TYPE_CHECKING:
    from mtc_sensor.training.ranks import Ranks
    from mtc_sensor.training.splits import Unseen


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@data_option(required=True)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True,
    help="Folder of the bundle, or of several for a study.",
)  # fmt: skip
@store_option
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
@click.option(
    "--tune", type=click.IntRange(1, 10_000), metavar="N",
    help="Try N settings from the recipe's space first, and train with the best.",
)  # fmt: skip
@click.option(
    "--unseen", type=click.Choice(["family", "source"]),
    help="Train five times, without some malware families (or publishers of malware) and some "
    "publishers of benign traffic, and measure on these.",
)  # fmt: skip
@device_option
@workers_option
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def train(
    recipe: Path,
    data: Path,
    out: Path,
    store: Path | None,
    resume: bool,
    tune: int | None,
    unseen: Unseen | None,
    device: str,
    workers: int,
    as_json: bool,
) -> None:
    """Train a bundle from RECIPE.yaml on labelled traffic, and measure it.

    OUT gets the bundle with its card, and in OUT/run the record of the run with learning curves and
    confusion matrix. Killed and called again with --resume, training goes on after the last whole
    epoch, exactly as it would have. Under torchrun, all processes train together.

    With --unseen, OUT gets a bundle for each fold, not calibrated, and the figures of all:
    unseen.json and unseen.md. Recipes of a fusion's members are taken from RECIPE's folder.
    """
    from mtc_sensor.cli.labelled import default_store  # noqa: PLC0415 - these load torch and numba
    from mtc_sensor.training.manifest import read_manifest  # noqa: PLC0415
    from mtc_sensor.training.ranks import ranks  # noqa: PLC0415
    from mtc_sensor.training.recipe import read_recipe  # noqa: PLC0415
    from mtc_sensor.training.session import Session  # noqa: PLC0415
    from mtc_sensor.training.unseen import ask_unseen  # noqa: PLC0415

    chosen, manifest = read_recipe(recipe), read_manifest(data)
    with ranks(device) as group, _Bars(group) as bars:
        session = Session(
            manifest, store or default_store(), group, workers, resume, bars.read, bars.trained
        )
        if unseen:
            members = [read_recipe(recipe.parent / f"{name}.yaml") for name in chosen.members]
            trained = ask_unseen(chosen, members, session, unseen, out)
        else:
            trained = session.run(chosen, out, tune)
    if group.leads:
        click.echo(json.dumps(trained.as_json()) if as_json else trained.as_text())


class _Bars(Bar):
    """Progress over files, then over epochs: on a terminal only, and of the first process."""

    def __init__(self, group: Ranks) -> None:
        super().__init__(MofNCompleteColumn(), hidden=not group.leads, transient=False)
        self._tasks = {name: self._bar.add_task(name, total=None) for name in ("reading", "epochs")}

    def read(self, done: int, total: int, name: str) -> None:
        """Say how many files are read."""
        self._bar.update(self._tasks["reading"], completed=done, total=total)

    def trained(self, epoch: int, epochs: int, figures: dict[str, float]) -> None:
        """Say how an epoch went."""
        shown = " ".join(f"{k} {figures[k]:.4f}" for k in ("loss", "val_loss", "val_macro_f1"))
        self._bar.update(
            self._tasks["epochs"], completed=epoch, total=epochs, description=f"epochs {shown}"
        )
