"""From probabilities to verdicts: what a model says of each record, and how sure it is.

A label is asserted only when it is sure enough. Malicious labels answer to a threshold on their
summed probability (an alert budget decides it, not 0.5), the others to ``unknown_below`` and to a
limit on how far the record is from what the model was trained on; what fails is ``unknown``, which
is a verdict of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtc_sensor.flow import FlowBatch

UNKNOWN = "unknown"
"""The label of a verdict that asserts none; no model may use it for a label of its own."""

_NO_LATENCY = -1
_BEST = 3
_NEGLIGIBLE = 0.0005


@dataclass(frozen=True)
class Policy:
    """What of a model decides. Raises ValueError for parts that do not fit together."""

    labels: tuple[str, ...]
    """One per column of the probabilities."""
    malicious: frozenset[str]
    """The labels that are malicious; empty for a model of applications or categories."""
    threshold: float | None
    """Summed probability of the malicious labels from which on a verdict is malicious."""
    unknown_below: float
    """Probability of the best label below which the verdict is ``unknown``; 0 for never."""
    unknown_above: float | None = None
    """Novelty above which a verdict is ``unknown`` unless it is malicious; None for never."""

    def __post_init__(self) -> None:
        if not self.labels or len(set(self.labels)) < len(self.labels) or UNKNOWN in self.labels:
            raise ValueError(f"labels: distinct names other than {UNKNOWN!r}, got {self.labels}")
        if strange := self.malicious - set(self.labels):
            raise ValueError(f"malicious: {min(strange)!r} is not among the labels")
        if bool(self.malicious) != (self.threshold is not None):
            raise ValueError("threshold: give a number exactly when labels are malicious")

    @cached_property
    def said(self) -> NDArray[np.str_]:
        """(labels + 1,) what a verdict may assert: the labels, and `UNKNOWN`."""
        return np.array([*self.labels, UNKNOWN])

    @cached_property
    def is_malicious(self) -> NDArray[np.bool_]:
        """(labels,) which columns are malicious."""
        return np.array([label in self.malicious for label in self.labels])


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Verdicts as columns, ``m`` rows: what a record and its model give to logs and events."""

    uid: NDArray[np.bytes_]
    """(m,) S24: the connection's uid."""
    kind: NDArray[np.uint8]
    """(m,) the record's `Kind`."""
    proto: NDArray[np.uint8]
    """(m,) IP protocol number."""
    orig_h: NDArray[np.uint8]
    """(m, 16) originator's address, IPv4 as ::ffff:a.b.c.d."""
    resp_h: NDArray[np.uint8]
    """(m, 16) responder's address."""
    orig_p: NDArray[np.uint16]
    """(m,) originator's port."""
    resp_p: NDArray[np.uint16]
    """(m,) responder's port."""
    start_us: NDArray[np.int64]
    """(m,) time of the record's first packet, microseconds since the epoch."""
    ts_us: NDArray[np.int64]
    """(m,) time of the record's last packet: from then on it could be judged."""
    packets: NDArray[np.int64]
    """(m,) packets that the record holds."""
    model: NDArray[np.str_]
    """(m,) the model's name."""
    label: NDArray[np.str_]
    """(m,) what the model asserts: the likeliest malicious label where `malicious`, `UNKNOWN` where
    `unknown`, else the likeliest label."""
    score: NDArray[np.float64]
    """(m,) in [0, 1]: where `malicious`, the summed probability of the malicious labels; elsewhere
    the probability of the likeliest label, which an ``unknown`` verdict does not assert."""
    malicious: NDArray[np.bool_]
    """(m,) the malicious labels together reach the policy's threshold."""
    unknown: NDArray[np.bool_]
    """(m,) nothing is asserted; never together with `malicious`."""
    detail: NDArray[np.str_]
    """(m,) evidence, printable ASCII: the likeliest labels, and malice beside its threshold."""
    latency_us: NDArray[np.int64]
    """(m,) from `ts_us` to the verdict, microseconds; -1 where it has no meaning (a replay)."""

    def __len__(self) -> int:
        return len(self.uid)

    @classmethod
    def concat(cls, parts: Sequence[Verdicts]) -> Verdicts:
        """Join verdicts, of any models, in order. Raises ValueError for no parts."""
        names = [field.name for field in fields(cls)]
        return cls(**{n: np.concatenate([getattr(part, n) for part in parts]) for n in names})

    def take(self, rows: ArrayLike) -> Verdicts:
        """Return the rows that `rows` (indices or a boolean mask) names, in that order."""
        index = np.asarray(rows)
        return Verdicts(**{field.name: getattr(self, field.name)[index] for field in fields(self)})


class _Decision(NamedTuple):
    label: NDArray[np.str_]
    score: NDArray[np.float64]
    malicious: NDArray[np.bool_]
    unknown: NDArray[np.bool_]
    detail: NDArray[np.str_]


def judge(
    batch: FlowBatch,
    model: str,
    policy: Policy,
    probabilities: NDArray[np.float32],
    now_us: int | None = None,
    novelty: NDArray[np.float32] | None = None,
) -> Verdicts:
    """Decide on every record of a batch.

    Parameters
    ----------
    batch
        The ``m`` records that the model was asked about.
    model
        The model's name.
    policy
        What of the model decides.
    probabilities
        (m, labels) calibrated probabilities. A row with a number that is not finite is ``unknown``.
    now_us
        The wall clock, microseconds since the epoch, for the latency; None in a replay.
    novelty
        (m,) how far each record is from what the model was trained on; None if it cannot say.

    Raises
    ------
    ValueError
        If the shape of `probabilities` is not (records, labels).
    """
    if probabilities.shape != (len(batch), len(policy.labels)):
        raise ValueError(
            f"probabilities of shape {probabilities.shape} for {len(batch)} records and "
            f"{len(policy.labels)} labels"
        )
    ts_us = batch.last_us()
    late = np.full(len(batch), _NO_LATENCY) if now_us is None else np.maximum(now_us - ts_us, 0)
    return Verdicts(
        **{name: getattr(batch, name) for name in _RECORD_COLUMNS},
        ts_us=ts_us,
        packets=batch.packets,
        model=np.full(len(batch), model),
        latency_us=late,
        **_decide(policy, probabilities, novelty)._asdict(),
    )


_RECORD_COLUMNS = ("uid", "kind", "proto", "orig_h", "resp_h", "orig_p", "resp_p", "start_us")


def _decide(
    policy: Policy, probabilities: NDArray[np.float32], novelty: NDArray[np.float32] | None
) -> _Decision:
    finite = np.logical_and.reduce(np.isfinite(probabilities), axis=1)
    p = np.where(finite[:, None], probabilities, 0).astype(np.float64)
    bad = policy.is_malicious
    # Softmax in float32 adds up to a little more than 1.
    malice = np.minimum(p[:, bad].sum(axis=1), 1.0)
    threshold = np.inf if policy.threshold is None else policy.threshold
    malicious = finite & (malice >= threshold)
    best, worst = p.argmax(axis=1), np.where(bad, p, -1.0).argmax(axis=1)
    top = p.max(axis=1)
    strange = _strange(policy, novelty, len(p))
    unknown = ~malicious & (~finite | bad[best] | (top < policy.unknown_below) | strange)
    return _Decision(
        label=policy.said[np.where(unknown, len(policy.labels), np.where(malicious, worst, best))],
        score=np.where(malicious, malice, top),
        malicious=malicious,
        unknown=unknown,
        detail=_details(policy, p, malice, novelty, strange, finite),
    )


def _strange(policy: Policy, novelty: NDArray[np.float32] | None, count: int) -> NDArray[np.bool_]:
    if novelty is None or policy.unknown_above is None:
        return np.zeros(count, np.bool_)
    return novelty > policy.unknown_above


def _details(
    policy: Policy,
    p: NDArray[np.float64],
    malice: NDArray[np.float64],
    novelty: NDArray[np.float32] | None,
    strange: NDArray[np.bool_],
    finite: NDArray[np.bool_],
) -> NDArray[np.str_]:
    order = (-p).argsort(axis=1, kind="stable")[:, :_BEST]
    shown = p[np.arange(len(p))[:, None], order]
    names = policy.labels
    texts = [
        " ".join([f"{names[i]}={v:.3f}" for i, v in zip(row, ps, strict=True) if v >= _NEGLIGIBLE])
        for row, ps in zip(order.tolist(), shown.tolist(), strict=True)
    ]
    if policy.threshold is not None:
        limit = f"threshold={policy.threshold:.3f}"
        texts = [f"{t} malice={m:.3f} {limit}" for t, m in zip(texts, malice.tolist(), strict=True)]
    if novelty is not None:
        for row in np.flatnonzero(strange).tolist():
            texts[row] += f" novelty={novelty[row]:.3f} limit={policy.unknown_above:.3f}"
    for row in np.flatnonzero(~finite).tolist():
        texts[row] = "no finite probabilities"
    return np.array(texts, np.str_)
