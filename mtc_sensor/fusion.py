"""What the members of a fusion say of records: its input, and each one's part in the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.flow import FlowBatch
from mtc_sensor.verdict import Verdicts

if TYPE_CHECKING:
    from mtc_sensor.inference import Model

Floats = NDArray[np.float32]

_LEAST = 1e-6
"""Probabilities nearer to 0 or 1 say no more."""


class Members:
    """The models that a fusion asks; of a record only those that judge such records."""

    def __init__(self, models: Sequence[Model]) -> None:
        self.models = tuple(models)

    def rows(self, batch: FlowBatch) -> NDArray[np.bool_]:
        """(n,) records that at least one member judges."""
        asked = np.zeros(len(batch), np.bool_)
        for model in self.models:
            asked[model.rows(batch)] = True
        return asked

    def evidence(self, batch: FlowBatch) -> Floats:
        """Return (n, values): of each member whether it was asked, then its numbers, 0 if not.

        These are log odds: of malice, or of each label where none is malicious.
        """
        return np.concatenate([_part(model, batch) for model in self.models], axis=1)

    def told(self, verdicts: Verdicts, evidence: Floats) -> Verdicts:
        """Return verdicts whose details show each member's part: its malice, or its best label."""
        parts: list[list[str]] = [verdicts.detail.tolist()]
        at = 0
        for model in self.models:
            width = _width(model)
            parts.append(_spoken(model, evidence[:, at], evidence[:, at + 1 : at + 1 + width]))
            at += 1 + width
        details = [" ".join(filter(None, row)) for row in zip(*parts, strict=True)]
        return replace(verdicts, detail=np.array(details, np.str_))


def _width(model: Model) -> int:
    return 1 if model.policy.malicious else len(model.policy.labels)


def _part(model: Model, batch: FlowBatch) -> Floats:
    rows = model.rows(batch)
    p = model.predict(batch.take(rows)).astype(np.float64)
    bad = model.policy.is_malicious
    p = p[:, bad].sum(axis=1, keepdims=True) if bad.any() else p
    asked = np.isfinite(p).all(axis=1)
    p = np.clip(p, _LEAST, 1 - _LEAST)
    part = np.zeros((len(batch), 1 + _width(model)), np.float32)
    part[rows[asked], 0] = 1
    part[rows[asked], 1:] = (np.log(p) - np.log1p(-p))[asked]
    return part


def _spoken(model: Model, asked: Floats, said: Floats) -> list[str]:
    p = 1 / (1 + np.exp(-said.astype(np.float64)))
    best, names = p.argmax(axis=1), model.policy.labels
    what = [""] * len(p) if model.policy.malicious else [f"{names[i]}/" for i in best.tolist()]
    return [
        f"{model.name}:{label}{share:.3f}" if there else ""
        for label, share, there in zip(what, p.max(axis=1).tolist(), asked.tolist(), strict=True)
    ]
