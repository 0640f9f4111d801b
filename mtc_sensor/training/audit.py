"""What a model's verdicts hang on: each field exchanged or taken away in turn, and what changes.

Fields that tell machines and captures apart (`fields.MASKED`) may not matter at all, whatever the
bundle says that it masks. The others show where the model looks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.errors import DataError
from mtc_sensor.flow import FlowBatch
from mtc_sensor.inference import Model
from mtc_sensor.training import fields
from mtc_sensor.training.answers import Answers, space_of
from mtc_sensor.training.metrics import accuracy, auroc, confusion
from mtc_sensor.training.tasks import Labelled, Task
from mtc_sensor.verdict import Verdicts, judge

MATTERS = 1e-4
"""Change of a probability beyond what arithmetic does; bundles are verified to the same."""
_HIDDEN = ("ip", "port", "sni")
"""Words that name machines."""
_SHOWN = 20_000
"""Records that are asked about, at most."""

Change = Callable[[FlowBatch], FlowBatch]


@dataclass(frozen=True)
class Effect:
    """What became of the records when one field was changed."""

    field: str
    masked: bool
    """It is one of those that may not matter."""
    most: float
    """Largest change of a probability."""
    mean: float
    """Mean total variation distance between probabilities before and after, 0 to 1."""
    verdicts: float
    """Share of verdicts with another label."""
    score: float
    """Change of the score; NaN without labels."""

    @property
    def fails(self) -> bool:
        """Whether it matters and may not."""
        return self.masked and self.most > MATTERS


@dataclass(frozen=True)
class Audit:
    """What was found out about a bundle."""

    bundle: str
    records: int
    score: str
    """What the score is: auroc of malicious against benign, or accuracy."""
    before: float
    """The score with nothing changed; NaN without labels."""
    effects: list[Effect]
    """Masked fields first, then by mean change."""

    @property
    def failures(self) -> list[str]:
        """The fields that matter and may not."""
        return [effect.field for effect in self.effects if effect.fails]


class _Subject:
    """A model and the records it is asked about."""

    def __init__(self, model: Model, task: Task | None, labelled: Labelled) -> None:
        self._model, self._labelled = model, labelled
        self._space = None if task is None else space_of(model, task, labelled.label)
        self.score = "auroc" if model.policy.is_malicious.any() else "accuracy"

    def ask(self, change: Change) -> tuple[NDArray[np.float64], Verdicts]:
        flows = change(self._labelled.flows)
        outputs = self._model.outputs(flows)
        verdicts = judge(
            flows, self._model.name, self._model.policy, outputs.probabilities, None,
            outputs.novelty,
        )  # fmt: skip
        return np.nan_to_num(outputs.probabilities.astype(np.float64)), verdicts

    def measure(self, probabilities: NDArray[np.float64]) -> float:
        if self._space is None:
            return math.nan
        label = self._space.of_task[self._labelled.label]
        found = self._space.collapse(probabilities.astype(np.float32))
        answers = Answers(self._space, found, label, self._labelled.source, label < 0)
        if self.score == "auroc":
            return auroc(answers.malice, answers.positive)
        known = label >= 0
        return accuracy(confusion(label[known], found.argmax(1)[known], found.shape[1]))


def audit(model: Model, task: Task | None, labelled: Labelled, seed: int = 1) -> Audit:
    """Change each field of the records that a model judges, and compare what it says.

    Parameters
    ----------
    model
        A loaded bundle.
    task
        What the labels mean; None where they mean nothing.
    labelled
        Records; at most 20,000 of them are used, chosen at random.

    Raises
    ------
    DataError
        If the model judges none of them.
    """
    rows = np.random.default_rng(seed).permutation(model.rows(labelled.flows))[:_SHOWN]
    if not len(rows):
        raise DataError(f"{model.name}: judges none of the {len(labelled)} records: give others")
    labelled = labelled.take(np.sort(rows))
    subject = _Subject(model, task, labelled)
    before, said = subject.ask(lambda flows: flows)
    base = subject.measure(before)
    effects = []
    for name, masked, change in _changes(labelled.flows, seed):
        after, says = subject.ask(change)
        difference = np.abs(after - before)
        effects.append(
            Effect(
                name,
                masked,
                most=float(difference.max()),
                mean=float(difference.sum(axis=1).mean() / 2),
                verdicts=float((says.label != said.label).mean()),
                score=subject.measure(after) - base,
            )
        )
    effects.sort(key=lambda effect: (not effect.masked, -effect.mean))
    return Audit(model.name, len(labelled), subject.score, base, effects)


def _changes(flows: FlowBatch, seed: int) -> Iterator[tuple[str, bool, Change]]:
    """Yield every field's name, whether it may not matter, and what changes it."""

    def drawn(change: Callable[[FlowBatch, np.random.Generator], FlowBatch]) -> Change:
        return lambda batch: change(batch, np.random.default_rng(seed))

    def exchanged(find: fields.Find) -> Change:
        return lambda batch: fields.exchange(batch, find, np.random.default_rng(seed))

    yield "endpoints, start", True, drawn(fields.exchange_endpoints)
    for found, masked in ((fields.MASKED, True), (fields.OPEN, False)):
        for name, find in found.items():
            yield name, masked, exchanged(find)
    for number in range(int(flows.heads.max(initial=0))):
        yield f"packet {number + 1}", False, partial(fields.without_packet, number=number)
    yield "sizes", False, drawn(fields.exchange_sizes)
    yield "directions", False, drawn(fields.exchange_directions)
    yield "times", False, drawn(fields.exchange_times)
    for prefix in fields.word_prefixes(flows):
        yield f"words {prefix}", prefix in _HIDDEN, partial(fields.without_words, prefix=prefix)


def as_json(result: Audit) -> dict[str, object]:
    """Return the audit as `mtc-sensor audit --json` prints it; null without labels."""

    def number(value: float) -> float | None:
        return None if math.isnan(value) else round(value, 6)

    return {
        "bundle": result.bundle,
        "records": result.records,
        "passes": not result.failures,
        result.score: number(result.before),
        "fields": {
            effect.field: {
                "masked": effect.masked,
                "largest_change": number(effect.most),
                "mean_change": number(effect.mean),
                "verdicts_changed": number(effect.verdicts),
                f"{result.score}_change": number(effect.score),
            }
            for effect in result.effects
        },
    }
