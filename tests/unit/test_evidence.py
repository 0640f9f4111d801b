from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mtc_sensor.evidence import explain, in_words, told
from mtc_sensor.features.byte_matrix import byte_matrix
from mtc_sensor.flow import FlowBatch
from mtc_sensor.inference import Model, judge_records
from mtc_sensor.models.bundle import load_bundle
from mtc_sensor.training.made_up import made_up

from .models.bundles import make_bundle
from .test_inference import records


class _Counts(torch.nn.Module):
    """Malicious by the bytes 40 to 43 of the third packet, or by counts of the responder."""

    def __init__(self) -> None:
        super().__init__()
        self.last = torch.nn.Linear(1, 3)
        with torch.no_grad():
            self.last.weight[:] = torch.tensor([[0.0], [0.02], [0.0]])
            self.last.bias[:] = 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        seen = inputs[:, 2, 40:44] if inputs.ndim == 3 else inputs[:, 1, :8, 24:]
        logits: torch.Tensor = self.last(seen.float().flatten(1).sum(1, keepdim=True))
        return logits


def model(path: Path, kind: str) -> Model:
    made = Model(load_bundle(make_bundle(path, kind)), "cpu")
    object.__setattr__(made.bundle, "network", _Counts())
    return made


def tcp_record(asked: Model) -> FlowBatch:
    """A TCP connection over IPv4 without IP options: bytes 40 to 43 are TCP options."""
    flows = made_up(asked).flows
    plain = (flows.proto == 6) & (flows.head_l4.reshape(len(flows), -1)[:, 2] == 20)
    return flows.take(np.flatnonzero(plain)[:1])


def middle(path: Path) -> tuple[Model, FlowBatch]:
    """Return a model and made-up records, half of which it calls malicious."""
    asked = model(path, "byte_matrix")
    flows = made_up(asked, 60).flows
    malice = asked.predict(flows)[:, 1:].sum(axis=1)
    asked.policy = replace(asked.policy, threshold=float(np.median(malice)))
    return asked, flows


def test_the_bytes_that_decide_are_found(tmp_path: Path) -> None:
    bytes_model = model(tmp_path / "m", "byte_matrix")
    record = tcp_record(bytes_model)
    found = explain(bytes_model, record, "bot", fine=4)
    best = found.parts[int(found.effect.argmax())]
    assert best.where == (2, slice(40, 44))
    assert best.name == "packet 3 bytes 40-43"
    others = [e for p, e in zip(found.parts, found.effect, strict=True) if p is not best]
    np.testing.assert_allclose(others, 0, atol=1e-6)
    matrix = byte_matrix(record, bytes_model.bundle.spec)  # type: ignore[arg-type]
    assert (found.inputs == matrix).all()
    logit = 0.02 * matrix[0, 2, 40:44].sum() / 2  # the bundle's temperature is 2
    assert found.effect.max() == pytest.approx(np.log((np.exp(logit) + 1) / 2), rel=1e-3)


def test_in_words_names_packet_and_place(tmp_path: Path) -> None:
    bytes_model = model(tmp_path / "m", "byte_matrix")
    line = in_words(explain(bytes_model, tcp_record(bytes_model), "bot"))
    assert line.startswith("decided by packet 3 ")
    assert line.endswith("(100%)")
    assert line.isascii()


def test_the_region_of_a_picture_that_decides_is_found(tmp_path: Path) -> None:
    pictures = model(tmp_path / "m", "flowpic")
    batch = records(200)
    rows = [r for r in pictures.rows(batch).tolist() if _responder_late(pictures, batch, r)]
    found = explain(pictures, batch.take([rows[0]]), "bot")
    best = found.parts[int(found.effect.argmax())]
    assert best.where[0] == 1
    assert best.name.startswith("responder packets of 0-375 bytes at ")


def _responder_late(pictures: Model, batch: FlowBatch, row: int) -> bool:
    picture = next(pictures.inputs(batch.take([row]))[0])
    return bool(picture[:, 1, :8, 24:].any())


def test_only_malicious_verdicts_are_explained(tmp_path: Path) -> None:
    asked, flows = middle(tmp_path / "m")
    judged = judge_records([asked], flows)
    assert judged.malicious.any()
    assert not judged.malicious.all()
    explained = np.char.find(judged.detail, "decided by") >= 0
    assert not (explained & ~judged.malicious).any()
    assert explained[judged.malicious].mean() > 0.5


def test_evidence_does_not_depend_on_the_batch(tmp_path: Path) -> None:
    small, batch = middle(tmp_path / "m")
    whole = judge_records([small], batch).detail.tolist()
    single = [
        detail
        for row in range(60)
        for detail in judge_records([small], batch.take([row])).detail.tolist()
    ]
    assert any("decided by" in detail for detail in whole)
    assert whole == single


def test_nothing_malicious_nothing_told(tmp_path: Path) -> None:
    small = model(tmp_path / "m", "byte_matrix")
    batch = records().take([])
    verdicts = small.judge(batch)
    assert told(small, batch, verdicts) is verdicts
