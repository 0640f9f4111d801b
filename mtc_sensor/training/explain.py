"""Why a model says what it says of one connection, as lines and as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mtc_sensor.capture.records import CaptureFile
from mtc_sensor.errors import CaptureError, MtcError
from mtc_sensor.evidence import Evidence, explain, in_words
from mtc_sensor.features.draw import write_png
from mtc_sensor.features.spec import FeatureSpec, FlowPicSpec, FusionSpec, PacketBytesSpec
from mtc_sensor.flow import FlowBatch, Kind, address_text
from mtc_sensor.inference import Model, settings_for
from mtc_sensor.verdict import UNKNOWN, Verdicts

_FINE_BYTES, _FINE_PACKET, _FINE_CELLS = 4, 32, 16
"""Bytes of a part in short and in whole packets; parts of a picture either way."""
_MAX_UID = 24


@dataclass(frozen=True)
class Explained:
    """One record, what was said of it, and why."""

    model: str
    spec: FeatureSpec
    record: FlowBatch
    verdict: Verdicts
    label: str
    """What the evidence is for: the verdict's label, or the likeliest if that is ``unknown``."""
    evidence: Evidence
    """In small parts."""
    line: str
    """What decided it, as a notice says it; empty if nothing did by itself."""

    @property
    def title(self) -> str:
        """Who talked to whom, and what was said of it."""
        record, verdict = self.record, self.verdict
        orig = f"{address_text(record.orig_h[0])}:{record.orig_p[0]}"
        resp = f"{address_text(record.resp_h[0])}:{record.resp_p[0]}"
        kind = Kind(int(record.kind[0])).name.lower()
        instead = "" if self.label == verdict.label[0] else f"; for {self.label} speak:"
        return (
            f"{record.uid[0].decode()}  {orig} to {resp}, {kind} record of "
            f"{int(record.packets[0])} packets: {self.model} says {verdict.label[0]} "
            f"({verdict.score[0]:.3f}){instead}"
        )


def explain_flow(model: Model, capture: Path, uid: str) -> list[Explained]:
    """Explain the verdicts on all records of one connection; a fusion's by its members.

    Raises
    ------
    CaptureError
        If the capture cannot be read up to the connection, or has none of this uid.
    MtcError
        If the model judges none of its records.
    """
    records = _records(model, capture, uid)
    asked = [model] if model.members is None else list(model.members.models)
    found = [
        _explained(one, records.take([row])) for one in asked for row in one.rows(records).tolist()
    ]
    if not found:
        judges = model.bundle.config.judges
        raise MtcError(
            f"{uid}: {model.name} judges none of its {len(records)} records, but kinds "
            f"{', '.join(judges.kinds)} of at least {judges.min_packets} packets: choose another "
            "flow or bundle"
        )
    return found


def _records(model: Model, capture: Path, uid: str) -> FlowBatch:
    wanted = uid.encode("ascii", "replace")[:_MAX_UID]
    found, seen, damage = [], 0, None
    try:
        for batch in CaptureFile(capture, settings_for([model])):
            seen += len(batch)
            found.append(batch.take(batch.uid == wanted))
    except CaptureError as fault:
        damage = fault
    records = FlowBatch.concat([batch for batch in found if len(batch)] or [FlowBatch.empty()])
    if not len(records):
        raise damage or CaptureError(
            f"{capture}: none of its {seen} records has the uid {uid!r:.40}: take one from "
            "mtc.log or conn.log of a replay of this file"
        )
    return records


def _explained(model: Model, record: FlowBatch) -> Explained:
    verdict = model.judge(record)
    label = str(verdict.label[0])
    if label == UNKNOWN:
        label = model.policy.labels[int(np.nan_to_num(model.predict(record)[0]).argmax())]
    spec = model.bundle.spec
    assert not isinstance(spec, FusionSpec)
    fine = _FINE_PACKET if isinstance(spec, PacketBytesSpec) else _FINE_BYTES
    if isinstance(spec, FlowPicSpec):
        fine = max(1, spec.resolution // _FINE_CELLS)
    return Explained(
        model=model.name,
        spec=spec,
        record=record,
        verdict=verdict,
        label=label,
        evidence=explain(model, record, label, fine),
        line=in_words(explain(model, record, label))[0],
    )


def draw_evidence(explained: Explained, path: Path) -> None:
    """Write the picture of an explanation to `path` as a PNG of 1100 x 700.

    Raises
    ------
    MtcError
        Without matplotlib.
    OutputError
        If the file cannot be written.
    """
    try:
        from mtc_sensor.training._evidence_figure import evidence_figure  # noqa: PLC0415 - an extra
    except ImportError as fault:
        raise MtcError("pictures need matplotlib: pip install 'mtc-sensor[plot]'") from fault
    figure = evidence_figure(
        explained.evidence, explained.spec, explained.record, explained.title, explained.label
    )
    write_png(figure, path)
