"""How good a model is on records that it was not trained on, and how sure that figure is.

Labels that a bundle does not know become malicious and benign where it has malicious labels;
otherwise their records only count for ``unknown``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.errors import DataError
from mtc_sensor.flow import FlowBatch
from mtc_sensor.inference import Model, Outputs
from mtc_sensor.training import metrics
from mtc_sensor.training.answers import Answers, Measured, Scalars, Space, measure, space_of
from mtc_sensor.training.baselines import BASELINES
from mtc_sensor.training.manifest import TRAIN
from mtc_sensor.training.metrics import FALSE_POSITIVE_RATES, Ranking
from mtc_sensor.training.splits import first_of_each, paper, signatures, size_sequences
from mtc_sensor.training.tasks import Labelled, Task
from mtc_sensor.verdict import Verdicts, judge

Labels = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Speed:
    """When a verdict is there, and what it costs; medians and 95th percentiles."""

    packets: tuple[float, float]
    seconds: tuple[float, float]
    us_per_flow: float
    """CPU time of features and model, in batches, without reading the capture."""


@dataclass(frozen=True)
class Evaluation:
    """All that is known of one bundle on some data."""

    bundle: str
    task: str
    protocol: str
    model: Measured
    baselines: dict[str, Measured] | None
    """Name -> on the same records; None without records to train them on."""
    speed: Speed
    verdicts: Scalars
    """At the bundle's own threshold: shares of flows and captures detected and falsely accused."""
    strange: Scalars
    """Labels that the model does not know, found by their novelty; empty without any."""


def evaluate(
    model: Model, task: Task, test: Labelled, train: Labelled | None, protocol: str = "honest"
) -> Evaluation:
    """Measure a model on the records of `test` that it judges.

    Parameters
    ----------
    model
        A loaded bundle.
    task
        What the labels of `test` and `train` mean.
    test, train
        Records to ask the model about, and to train the baselines on.
    protocol
        How they were split; it goes with every output.

    Raises
    ------
    DataError
        If the model judges none of the records, or knows none of the labels and no malicious ones.
    """
    rows = model.rows(test.flows)
    if not len(rows):
        raise DataError(
            f"{model.name}: judges none of the {len(test)} records of task {task.name}: it wants "
            f"{model.bundle.config.judges}; choose another split or bundle"
        )
    test = test.take(rows)
    space = space_of(model, task, test.label)
    model.outputs(test.flows.take(np.arange(1)))  # compiles what is compiled at its first call
    began = time.process_time()
    outputs = model.outputs(test.flows)
    cost = (time.process_time() - began) / len(rows) * 1e6
    verdicts = judge(
        test.flows, model.name, model.policy, outputs.probabilities, None, outputs.novelty
    )
    answers = _answers(space, outputs, verdicts, test)
    return Evaluation(
        bundle=model.name,
        task=task.name,
        protocol=protocol,
        model=measure(answers),
        baselines=_baselines(model, space, test, train),
        speed=_speed(test.flows, cost),
        verdicts=_alerts(answers, verdicts.malicious),
        strange=_strange(model, task, test, outputs.novelty),
    )


def sides(
    model: Model, labelled: Labelled, split: str | None, protocol: str
) -> tuple[Labelled, Labelled | None]:
    """Return what to ask a model about, and what to train baselines on.

    Parameters
    ----------
    model
        Its input says what a duplicate is.
    labelled
        Records that it judges.
    split
        Name of the manifest's rows to ask about; None for all but ``train``, or for all rows if
        there are no others.
    protocol
        ``honest``: an input counts once, and not if it is among the train rows'. ``paper``: split
        at random whatever the manifest says, duplicates and all.

    Raises
    ------
    DataError
        If nothing is left to ask about.
    """
    if protocol == "paper":
        drawn = paper(labelled)
        return labelled.take(drawn.val), labelled.take(drawn.train)
    named = labelled.of(lambda source: source.split)
    asked = named != TRAIN if split is None else named == split
    asked |= split is None and not asked.any()
    train, test = np.flatnonzero((named == TRAIN) & ~asked), np.flatnonzero(asked)
    asked_too = model.members.models if model.members else (model,)
    sees_bytes = any(one.bundle.spec.head_bytes for one in asked_too)
    digests = signatures(labelled.flows, "bytes" if sees_bytes else "sizes")
    seen = [digests[row] for row in train]
    test = test[first_of_each([digests[row] for row in test], seen)]
    if not len(test):
        raise DataError(
            f"{model.name}: no records to ask about in split {split or 'other than train'}: the "
            f"manifest has {', '.join(np.unique(named)) or 'none'}; choose one with --split"
        )
    train = train[first_of_each(seen)]
    return labelled.take(test), labelled.take(train) if len(train) else None


def _answers(space: Space, outputs: Outputs, verdicts: Verdicts, test: Labelled) -> Answers:
    """Put a model's outputs into the space; a record that gives no input is unknown."""
    finite = np.isfinite(outputs.probabilities).all(axis=1, keepdims=True)
    even = np.float32(1 / outputs.probabilities.shape[1])
    probabilities = space.collapse(np.where(finite, outputs.probabilities, even))
    label = space.of_task[test.label]
    return Answers(space, probabilities, label, test.source, verdicts.unknown)


def _baselines(
    model: Model, space: Space, test: Labelled, train: Labelled | None
) -> dict[str, Measured] | None:
    if train is None:
        return None
    train = train.take(model.rows(train.flows))
    label = space.of_task[train.label]
    known = label >= 0
    if not known.any():
        return None
    inputs, asked = size_sequences(train.flows.take(known)), size_sequences(test.flows)
    nothing = np.zeros(len(test), np.bool_)
    truth = space.of_task[test.label]
    return {
        name: measure(
            Answers(
                space,
                baseline(inputs, label[known], asked, len(space.labels)),
                truth,
                test.source,
                nothing,
            )
        )
        for name, baseline in BASELINES.items()
    }


def _alerts(answers: Answers, accused: Mask) -> Scalars:
    positive, group = answers.positive, answers.group
    if not answers.space.malicious.any():
        return {}
    return {
        "flows_detected": _share(accused[positive]),
        "captures_detected": _share_of_groups(group, accused, positive),
        "false_alarms": _share(accused[~positive]),
        "benign_captures_accused": _share_of_groups(group, accused, ~positive),
    }


def _strange(
    model: Model, task: Task, test: Labelled, novelty: NDArray[np.float32] | None
) -> Scalars:
    """Measure how records of labels that the model does not know stand out."""
    strange = ~np.isin(task.labels, model.policy.labels)[test.label]
    if novelty is None or not strange.any() or strange.all():
        return {}
    ranking = Ranking(np.nan_to_num(novelty.astype(np.float64), nan=2.0), strange)
    return {
        "records": float(strange.sum()),
        "auroc": ranking.auroc(),
        "found_at_0.05": ranking.detection(0.05),
    }


def _share_of_groups(group: Labels, accused: Mask, among: Mask) -> float:
    """Share of the captures with records `among` that have an accused one of them."""
    return _share(np.isin(np.unique(group[among]), group[among & accused]))


def _share(hits: Mask) -> float:
    return float(hits.mean()) if len(hits) else math.nan


def _speed(flows: FlowBatch, us_per_flow: float) -> Speed:
    seconds = (flows.last_us() - flows.start_us) / 1e6
    return Speed(_middle(flows.packets), _middle(seconds), us_per_flow)


def _middle(values: NDArray[np.generic]) -> tuple[float, float]:
    low, high = np.percentile(values.astype(np.float64), (50, 95))
    return float(low), float(high)


def as_json(evaluation: Evaluation) -> dict[str, object]:
    """Return the evaluation as `mtc-sensor evaluate --json` prints it; null for what is undefined.

    ``intervals`` are [low, high] for 95 %, by capture. ``protocol`` is there for ``paper`` only,
    and ``strange`` if there are labels that the bundle does not know.
    """
    measured = evaluation.model
    baselines = evaluation.baselines
    named = {} if evaluation.protocol == "honest" else {"protocol": evaluation.protocol}
    return {
        "bundle": evaluation.bundle,
        **named,
        "n": len(measured.answers.label),
        **_figures_json(measured.figures),
        "per_class": _per_class_json(measured),
        "baselines": baselines and {k: _baseline_json(m) for k, m in baselines.items()},
        **({"strange": evaluation.strange} if evaluation.strange else {}),
        "intervals": {
            k: [_null(low), _null(high)] for k, (low, high) in measured.intervals.items()
        },
    }


def _baseline_json(measured: Measured) -> dict[str, object]:
    figures = _figures_json(measured.figures)
    del figures["unknown_rate"]
    return figures


def _figures_json(figures: Mapping[str, float]) -> dict[str, object]:
    rates = {f"{rate:f}".rstrip("0"): f"tpr@{rate:g}" for rate in FALSE_POSITIVE_RATES}
    return {
        "accuracy": _null(figures["accuracy"]),
        "macro_f1": _null(figures["macro_f1"]),
        "auroc": _null(figures["auroc"]),
        "tpr_at_fpr": {name: _null(figures[key]) for name, key in rates.items()},
        "ece": _null(figures["ece"]),
        "unknown_rate": _null(figures["unknown_rate"]),
    }


def _per_class_json(measured: Measured) -> dict[str, dict[str, float]]:
    each = metrics.per_class(measured.table)
    columns = zip(each.precision, each.recall, each.f1, each.support, strict=True)
    return {
        label: {
            "precision": round(float(precision), 4),
            "recall": round(float(recall), 4),
            "f1": round(float(f1), 4),
            "support": int(support),
        }
        for label, (precision, recall, f1, support) in zip(
            measured.answers.space.labels, columns, strict=True
        )
    }


def _null(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
