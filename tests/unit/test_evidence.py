import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mtc_sensor.evidence import MAX_INPUTS, explain, in_words, told, untold
from mtc_sensor.features.byte_matrix import byte_matrix
from mtc_sensor.features.spec import (
    ByteMatrixSpec,
    FlowPicSpec,
    InputSpec,
    PacketBytesSpec,
    PayloadSpec,
    SizesSpec,
    TokensSpec,
)
from mtc_sensor.flow import FlowBatch
from mtc_sensor.inference import Model, judge_records
from mtc_sensor.models.bundle import load_bundle
from mtc_sensor.training.made_up import made_up

from .features.build import batch_of, packets
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
    best = int(found.effect.argmax())
    assert found.parts.where(best) == (0, slice(2, 3), slice(40, 44))
    assert found.parts.name(best) == "packet 3 bytes 40-43"
    others = np.delete(found.effect, best)
    np.testing.assert_allclose(others, 0, atol=1e-6)
    matrix = byte_matrix(record, bytes_model.bundle.spec)  # type: ignore[arg-type]
    assert (found.inputs == matrix).all()
    logit = 0.02 * matrix[0, 2, 40:44].sum() / 2  # the bundle's temperature is 2
    assert found.effect.max() == pytest.approx(np.log((np.exp(logit) + 1) / 2), rel=1e-3)


def test_in_words_names_packet_and_place(tmp_path: Path) -> None:
    bytes_model = model(tmp_path / "m", "byte_matrix")
    (line,) = in_words(explain(bytes_model, tcp_record(bytes_model), "bot"))
    assert line.startswith("decided by packet 3 ")
    assert line.endswith("(100%)")
    assert line.isascii()


def test_the_region_of_a_picture_that_decides_is_found(tmp_path: Path) -> None:
    pictures = model(tmp_path / "m", "flowpic")
    batch = records(200)
    rows = [r for r in pictures.rows(batch).tolist() if _responder_late(pictures, batch, r)]
    found = explain(pictures, batch.take([rows[0]]), "bot")
    best = int(found.effect.argmax())
    assert found.parts.where(best)[1] == slice(1, 2)
    assert found.parts.name(best).startswith("responder packets of 0-375 bytes at ")


def _responder_late(pictures: Model, batch: FlowBatch, row: int) -> bool:
    picture = next(pictures.inputs(batch.take([row]))[0])
    return bool(picture[:, 1, :8, 24:].any())


SPECS: dict[InputSpec, float] = {
    ByteMatrixSpec(): 0.05,
    ByteMatrixSpec(packets=5, bytes=60, masks=()): 0.05,
    PacketBytesSpec(bytes=200): 0.02,
    FlowPicSpec(): 3.0,
    FlowPicSpec(resolution=30, direction=False, window_s=1.0): 30.0,
    SizesSpec(): 1.0,
    SizesSpec(times=False): 1.0,
    PayloadSpec(): 0.002,
    PayloadSpec(vocabulary=tuple(range(0, 1 << 18, 100))): 0.002,
    TokensSpec(vocabulary=("ip:4", "ext:10", "tls:303"), hidden=()): 1.0,
}
"""Inputs, and how much one value of each may count."""


class _Linear(torch.nn.Module):
    """Every value of the input counts."""

    def __init__(self, shape: tuple[int, ...], scale: float) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.last = torch.nn.Linear(math.prod(shape), 3)
        with torch.no_grad():
            self.last.weight *= scale

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.last(inputs.flatten(1).float())
        return logits


def linear(path: Path, spec: InputSpec) -> tuple[Model, FlowBatch]:
    """Return a model of any input, and records that it judges."""
    asked = Model(load_bundle(make_bundle(path)), "cpu")
    object.__setattr__(asked.bundle, "spec", spec)
    object.__setattr__(asked.bundle, "network", _Linear(spec.shape, SPECS[spec]))
    return asked, made_up(asked, 40).flows


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_parts_count_what_is_lost_when_they_are_blanked(tmp_path: Path, spec: InputSpec) -> None:
    asked, flows = linear(tmp_path / "m", spec)
    record = flows.take([3])
    for fine in (0, 5):
        found = explain(asked, record, "worm", fine)
        inputs = torch.from_numpy(found.inputs)
        whole = float(_log_odds(asked, inputs))
        taken = torch.zeros_like(inputs, dtype=torch.int64)
        for part, effect in enumerate(found.effect.tolist()):
            changed, where = inputs.clone(), found.parts.where(part)
            assert changed[where].any()
            changed[where] = 0
            taken[where] += 1
            assert effect == pytest.approx(whole - _log_odds(asked, changed), abs=1e-3)
        assert (taken <= 1).all()
        assert (taken[inputs != 0] == 1).all()
        assert len({found.parts.name(part) for part in range(len(found.effect))}) == len(
            found.effect
        )


def _log_odds(asked: Model, inputs: torch.Tensor) -> float:
    p = asked.bundle.probabilities(inputs).double().mean(0)
    return float((torch.log(p[1] + p[2]) - torch.log(p[0])).detach())


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_records_together_give_what_each_gives_alone(tmp_path: Path, spec: InputSpec) -> None:
    asked, flows = linear(tmp_path / "m", spec)
    whole = explain(asked, flows, "bot")
    row = whole.rows[whole.parts.input]
    lines = in_words(whole, len(flows))
    for record in range(len(flows)):
        single = explain(asked, flows.take([record]), "bot")
        its = np.flatnonzero(row == record)
        np.testing.assert_allclose(whole.effect[its], single.effect, atol=1e-3)
        assert (whole.inputs[whole.rows == record] == single.inputs).all()
        assert whole.numbers[whole.rows == record].tolist() == single.numbers.tolist()
        names = [single.parts.name(part) for part in range(len(single.effect))]
        assert [whole.parts.name(part) for part in its.tolist()] == names
        assert in_words(single) == lines[record : record + 1]
    assert any(lines)


def test_of_many_inputs_the_fullest_are_looked_into(tmp_path: Path) -> None:
    asked, _ = linear(tmp_path / "m", FlowPicSpec())
    counts = np.array([3, 1, 9, 2, 4, 1, 5, 1, 6, 7, 1])
    times = [60.0 * window + n for window, count in enumerate(counts) for n in range(count)]
    long = packets(times, [40] * len(times))
    found = explain(asked, batch_of([packets([0], [40]), long]), "bot")
    assert found.rows.tolist() == [0] + [1] * MAX_INPUTS
    assert found.numbers.tolist() == [0, 0, 1, 2, 3, 4, 6, 8, 9]
    assert found.inputs.sum((1, 2, 3)).tolist() == [1, *counts[found.numbers[1:]].tolist()]


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


def test_no_more_are_explained_than_asked_for(tmp_path: Path) -> None:
    asked, flows = middle(tmp_path / "m")
    every, some, none = (asked.judge(flows, most_explained=most) for most in (None, 3, 0))
    plain, accused = none.detail.tolist(), np.flatnonzero(none.malicious)
    assert not any("decided by" in detail for detail in plain)
    kept = [*plain]
    for row in accused[:3].tolist():
        kept[row] = str(every.detail[row])
    assert some.detail.tolist() == kept
    assert [untold(asked, none, most) for most in (None, 3, 0)] == [
        0, len(accused) - 3, len(accused),
    ]  # fmt: skip


def test_nothing_malicious_nothing_told(tmp_path: Path) -> None:
    small = model(tmp_path / "m", "byte_matrix")
    batch = records().take([])
    verdicts = small.judge(batch)
    assert told(small, batch, verdicts) is verdicts
