"""What `mtc-sensor train` does: one bundle, one after a search, or one for each row of a study."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from mtc_sensor.errors import ConfigError
from mtc_sensor.training.data import Data, read_data
from mtc_sensor.training.loop import Told
from mtc_sensor.training.manifest import Manifest
from mtc_sensor.training.ranks import Ranks
from mtc_sensor.training.recipe import Recipe, Value
from mtc_sensor.training.store import Progress
from mtc_sensor.training.trainer import Trained, train
from mtc_sensor.training.tune import search

STUDY = "study"
"""Names of a study's results: study.json and study.md."""
_FIGURES = ("accuracy", "macro_f1", "auroc", "ece")


@dataclass(frozen=True)
class Result:
    """Figures of one or several bundles; a row for each."""

    rows: list[dict[str, object]] = field(default_factory=list)

    def as_json(self) -> object:
        """Return the one row, or all of a study."""
        return self.rows[0] if len(self.rows) == 1 else self.rows

    def as_text(self) -> str:
        """Return a Markdown table."""
        if not self.rows:
            return ""
        names = list(self.rows[0])
        lines = [names, ["---"] * len(names)]
        lines += [[_text(row[name]) for name in names] for row in self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def write(self, out: Path, name: str) -> None:
        """Write `name`.json and `name`.md into the folder `out`."""
        (out / f"{name}.json").write_text(json.dumps(self.rows, indent=1) + "\n")
        (out / f"{name}.md").write_text(self.as_text() + "\n")


@dataclass(frozen=True)
class Session:
    """Trains recipes on a manifest.

    Parameters
    ----------
    manifest, store
        The data, and where records are kept that were read once.
    ranks
        Which of the processes this is.
    workers
        Processes that read files.
    resume
        Go on from checkpoints; bundles of a study that are there already are not trained again.
    read, told
        Told after each file, and after each epoch.
    """

    manifest: Manifest
    store: Path
    ranks: Ranks
    workers: int = 1
    resume: bool = False
    read: Progress | None = None
    told: Told = lambda epoch, epochs, figures: None

    def run(self, recipe: Recipe, out: Path, tune: int | None = None) -> Result:
        """Train what a recipe says into the folder `out`; return its figures.

        Raises
        ------
        ConfigError, DataError, BundleError
            The recipe, the data or what came of them cannot be used.
        """
        if recipe.study:
            return self._study(recipe, out)
        changes: Mapping[str, Value] = {}
        if tune:
            changes = search(recipe, self.data(recipe, out), out, self.ranks, tune, self.told)
        return Result(self._one(recipe.changed(changes), out, changes))

    def data(self, recipe: Recipe, out: Path) -> Data:
        """Return a recipe's data; the first process reads files, the others what it has kept."""
        if not self.ranks.leads:
            self.ranks.wait()
        data = read_data(recipe, self.manifest, self.store, out, self.workers, self.read)
        if self.ranks.leads:
            self.ranks.wait()
        return data

    def _one(
        self, recipe: Recipe, out: Path, changes: Mapping[str, Value]
    ) -> list[dict[str, object]]:
        trained = train(
            recipe, self.data(recipe, out), out, self.ranks, resume=self.resume, told=self.told
        )
        return [] if trained is None else [{**changes, **_row(trained)}]

    def _study(self, recipe: Recipe, out: Path) -> Result:
        result = Result()
        file = out / f"{STUDY}.json"
        done = json.loads(file.read_text()) if self.resume and file.is_file() else []
        for number, changes in enumerate(_combinations(recipe)):
            variant = recipe.changed({**changes, "name": f"{recipe.name}-{number + 1:02d}"})
            variant = variant.model_copy(update={"study": {}})
            if number < len(done):
                result.rows.append(done[number])
                continue
            result.rows.extend(self._one(variant, out / variant.name, changes))
            if self.ranks.leads:
                result.write(out, STUDY)
        return result


def _combinations(recipe: Recipe) -> Iterator[dict[str, Value]]:
    if any(not values for values in recipe.study.values()):
        raise ConfigError(f"recipe {recipe.name}: study: a key has no values: give some")
    for values in product(*recipe.study.values()):
        yield dict(zip(recipe.study, values, strict=True))


def _row(trained: Trained) -> dict[str, object]:
    model, speed = trained.evaluation.model, trained.evaluation.speed
    return {
        "bundle": str(trained.path),
        "n": len(model.answers.label),
        **{name: round(model.figures[name], 4) for name in _FIGURES},
        "packets": speed.packets[0],
        "seconds": round(speed.seconds[0], 3),
        "us_per_flow": round(speed.us_per_flow, 1),
        "training_s": trained.seconds,
    }


def _text(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
