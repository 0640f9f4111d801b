"""What of a record decided its verdict: parts of the input taken away in turn.

A part that is set to 0 is not there: no byte, no packet, no word. How far the log odds of what was
said fall without it is what it counts for. This asks the model only, so that it holds for networks
and forests alike. Occlusion: Zeiler, Fergus: "Visualizing and Understanding Convolutional
Networks", ECCV 2014.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mtc_sensor.features.parts import Parts, parts_of, without
from mtc_sensor.features.spec import FusionSpec
from mtc_sensor.flow import FlowBatch
from mtc_sensor.models.inputs import Inputs, chunks, inputs_of

if TYPE_CHECKING:
    from mtc_sensor.inference import Model
    from mtc_sensor.verdict import Verdicts

MAX_INPUTS = 8
"""Inputs of one record that are looked into: the fullest."""
MOST_LIVE = 16
"""Malicious verdicts of a batch that are explained where others wait."""
_VALUES = 1 << 19
"""Input values that are held at once, and that a model is asked about, at most (or one record's).

A network that computes equal packets once is asked least by few large batches: 512 byte matrices.
"""
_TOLD = 2
_LEAST = 1e-12
_NOTHING = 0.05
"""Log odds below which a part decided nothing."""
_DIGITS = 3
"""Of log odds that decide which part counts more; later ones depend on what is asked together."""


class Evidence(NamedTuple):
    """What each part of the inputs of ``n`` records counts for."""

    inputs: NDArray[np.generic]
    """(w, ...) the inputs that were looked into, record after record; of each at most
    `MAX_INPUTS`."""
    rows: NDArray[np.int64]
    """(w,) the record of each."""
    numbers: NDArray[np.int64]
    """(w,) which of its record's inputs each is."""
    parts: Parts
    effect: NDArray[np.float64]
    """(parts,) log odds of what was said that are lost without the part."""


def told(
    model: Model, batch: FlowBatch, verdicts: Verdicts, most_explained: int | None = None
) -> Verdicts:
    """Return verdicts on a batch whose malicious ones say what decided them.

    The first `most_explained` do; None for all. A fusion shows its members instead.
    """
    rows = _accused(model, verdicts)[:most_explained]
    if not len(rows):
        return verdicts
    details = verdicts.detail.tolist()
    for part in chunks(len(rows), (MAX_INPUTS, *model.bundle.spec.shape), _VALUES):
        some = rows[part]
        found = explain(model, batch.take(some), str(verdicts.label[some[0]]))
        for row, line in zip(some.tolist(), in_words(found, len(some)), strict=True):
            details[row] = f"{details[row]} {line}".strip()
    return replace(verdicts, detail=np.array(details, np.str_))


def untold(model: Model, verdicts: Verdicts, most_explained: int | None) -> int:
    """Return how many verdicts `told` passes over because of `most_explained`."""
    count = len(_accused(model, verdicts))
    return 0 if most_explained is None else max(count - most_explained, 0)


def _accused(model: Model, verdicts: Verdicts) -> NDArray[np.int64]:
    fusion = isinstance(model.bundle.spec, FusionSpec)
    return np.flatnonzero(verdicts.malicious & (not fusion))


def explain(model: Model, records: FlowBatch, label: str, fine: int = 0) -> Evidence:
    """Take parts of records' inputs away in turn.

    Parameters
    ----------
    model
        Not a fusion.
    records
        Records that the model judges.
    label
        What was said of them. For a malicious one all malicious labels count.
    fine
        Size of a part; see `features.parts.parts_of`.

    Raises
    ------
    ValueError
        For an unknown label.
    """
    spec = model.bundle.spec
    assert not isinstance(spec, FusionSpec)
    built = inputs_of(records, spec)
    chosen = _fullest(model, built)
    inputs = built.take(chosen, model.device)
    rows = built.rows[chosen]
    numbers = chosen - np.searchsorted(built.rows, rows)
    parts = parts_of(spec, records, chosen, inputs, fine)
    effect = _effects(model, inputs, rows, parts, _columns(model, label))
    return Evidence(inputs.cpu().numpy(), rows, numbers, parts, effect)


def in_words(evidence: Evidence, count: int = 1) -> list[str]:
    """Name of each of `count` records the two parts that count most, if there are any.

    Each with its share of all that counts.
    """
    lost = np.maximum(evidence.effect, 0)
    row = evidence.rows[evidence.parts.input]
    order = np.lexsort((-lost.round(_DIGITS), row))
    best = order[(_ranks(row) < _TOLD) & (lost[order] > _NOTHING)]
    share = lost[best] / np.bincount(row, lost, count)[row[best]]
    said: list[list[str]] = [[] for _ in range(count)]
    for record, part, percent in zip(
        row[best].tolist(), best.tolist(), share.tolist(), strict=True
    ):
        said[record].append(f"{evidence.parts.name(part)} ({percent:.0%})")
    return [f"decided by {', '.join(parts)}" if parts else "" for parts in said]


def _columns(model: Model, label: str) -> NDArray[np.bool_]:
    policy = model.policy
    if label in policy.malicious:
        return policy.is_malicious
    named: NDArray[np.bool_] = np.arange(len(policy.labels)) == policy.labels.index(label)
    return named


def _fullest(model: Model, built: Inputs) -> NDArray[np.int64]:
    """Return (w,) the numbers of the inputs that are looked into."""
    every = np.arange(len(built.rows))
    if built.one_each:
        return every
    filled = [
        (built.take(every[part], model.device) != 0).flatten(1).sum(1).cpu().numpy()
        for part in chunks(len(every), model.bundle.spec.shape, _VALUES)
    ]
    order = np.lexsort((-np.concatenate([every[:0], *filled]), built.rows))
    return np.sort(order[_ranks(built.rows) < MAX_INPUTS])


def _ranks(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 0, 1, 2, ... for each run of equal ones in rows that do not decrease."""
    ranks: NDArray[np.int64] = np.arange(len(rows)) - np.searchsorted(rows, rows)
    return ranks


def _effects(
    model: Model,
    inputs: Tensor,
    rows: NDArray[np.int64],
    parts: Parts,
    columns: NDArray[np.bool_],
) -> NDArray[np.float64]:
    asked = parts.after_nothing(len(inputs))  # together, for they have packets in common
    slices = chunks(len(asked.input), model.bundle.spec.shape, _VALUES)
    found = model.ask(without(inputs, asked.take(part)) for part in slices)
    single, changed = found[: len(inputs)], found[len(inputs) :]
    total = np.zeros((int(rows.max(initial=-1)) + 1, len(columns)))
    np.add.at(total, rows, single)
    count = np.maximum(np.bincount(rows), 1)[:, None]
    row = rows[parts.input]
    left = (total[row] - single[parts.input] + changed) / count[row]
    return _log_odds(total / count, columns)[row] - _log_odds(left, columns)


def _log_odds(p: NDArray[np.float64], columns: NDArray[np.bool_]) -> NDArray[np.float64]:
    said, else_ = p[:, columns].sum(axis=1), p[:, ~columns].sum(axis=1)
    odds: NDArray[np.float64] = np.log(said + _LEAST) - np.log(else_ + _LEAST)
    return odds
