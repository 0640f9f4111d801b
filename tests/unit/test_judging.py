"""Samples through models that fail, cost too much, or meet a clock that was stepped back."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mtc_sensor.flow import FlowBatch, pack_samples
from mtc_sensor.inference import Model
from mtc_sensor.judging import SampleJudge
from mtc_sensor.measures import Measures
from mtc_sensor.models.bundle import load_bundle
from mtc_sensor.verdict import Verdicts
from mtc_sensor.wire.records import StreamId
from mtc_sensor.wire.sample import Sample
from tests.unit.models.bundles import change_config, make_bundle
from tests.unit.wire.build import records_of
from tests.unit.wire.build import sample as build

PACKETS = pack_samples(np.arange(8) * 1000, np.arange(8) % 2 == 1, np.full(8, 100), np.full(8, 60))
SAMPLES = [replace(build(seq=seq), samples=PACKETS, link=101) for seq in range(1, 6)]


def head(sample: Sample) -> Sample:
    """The sample with a head in which its connection is found."""
    ends = sample.orig_h.packed + sample.resp_h.packed
    ports = sample.orig_p.number.to_bytes(2, "big") + sample.resp_p.number.to_bytes(2, "big")
    packet = (
        bytes.fromhex("45000064000000004006 0000") + ends + ports + bytes(8) + b"\x50" + bytes(7)
    )
    return replace(sample, head=(packet,) * 8)


PARTS = [records_of([*map(head, SAMPLES)])]


class Failing(Model):
    """A model that raises whenever it is asked."""

    broken = True

    def judge(
        self, batch: FlowBatch, now_us: int | None = None, most_explained: int | None = None
    ) -> Verdicts:
        if self.broken:
            raise RuntimeError("out of memory")
        return super().judge(batch, now_us, most_explained)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    found = [make_bundle(folder / kind, kind) for kind in ("byte_matrix", "flowpic")]
    for path in found:
        change_config(path, name=path.name)
    return found


def models(
    paths: list[Path], kinds: tuple[type[Model], type[Model]] = (Model, Model)
) -> list[Model]:
    return [kind(load_bundle(path), "cpu") for kind, path in zip(kinds, paths, strict=True)]


def told(judge: SampleJudge, strain: float = 0.0) -> list[list[str]]:
    """Return the models of the verdicts on each sample."""
    said = [event for (verdicts,) in judge(PARTS, strain) for event in verdicts]
    assert {event.seq for event in said} <= {sample.seq for sample in SAMPLES}
    return [[event.model for event in said if event.seq == sample.seq] for sample in SAMPLES]


def test_all_models_are_asked_and_counted(paths: list[Path]) -> None:
    measures = Measures()
    judge = SampleJudge("s1", models(paths), measures=measures)
    assert told(judge) == [["byte_matrix", "flowpic"]] * 5
    read = measures.read()
    assert sum(read.verdicts.values()) == 10
    assert {name: one.total for name, one in read.batches.items()} == {
        "byte_matrix": 5, "flowpic": 5,
    }  # fmt: skip
    assert read.stages.keys() == {"batch", "infer"}
    assert read.shed == {}


def test_a_model_that_raises_is_counted_and_the_others_are_heard(
    paths: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    measures, (failing, sound) = Measures(), models(paths, (Failing, Model))
    judge = SampleJudge("s1", [failing, sound], measures=measures)
    with caplog.at_level(logging.ERROR):
        assert [told(judge) for _ in range(3)] == [[["flowpic"]] * 5] * 3
    assert measures.read().shed == {"failed:byte_matrix": 15}
    (record,) = caplog.records  # once, until it works again
    assert "byte_matrix failed" in record.message
    assert "out of memory" in caplog.text
    failing.broken = False  # type: ignore[attr-defined]
    assert told(judge) == [["byte_matrix", "flowpic"]] * 5
    failing.broken = True  # type: ignore[attr-defined]
    told(judge)
    assert len(caplog.records) == 2


def test_under_strain_the_costliest_is_left_out_and_verdicts_say_so(paths: list[Path]) -> None:
    measures, both = Measures(), models(paths)
    judge = SampleJudge("s1", both, measures=measures)
    judge._models[0].cost_s, judge._models[1].cost_s = 1.0, 2.0
    ((said,),) = judge(PARTS, 0.01)
    assert [event.model for event in said] == ["byte_matrix"] * 5
    assert all(event.detail.endswith(" ran=byte_matrix") for event in said)
    assert measures.read().shed == {"skipped:flowpic": 5}
    judge._models[0].cost_s = 3.0
    assert told(judge, 1.0) == [["flowpic"]] * 5
    assert told(judge, 0.0) == [["byte_matrix", "flowpic"]] * 5


def test_the_only_model_is_never_left_out(paths: list[Path]) -> None:
    judge = SampleJudge("s1", models(paths)[:1])
    ((said,),) = judge(PARTS, 1.0)
    assert [event.model for event in said] == ["byte_matrix"] * 5
    assert all("ran=" not in event.detail for event in said)


def test_what_a_model_takes_is_what_it_costs(paths: list[Path]) -> None:
    judge = SampleJudge("s1", models(paths))
    told(judge)
    assert all(0 < model.cost_s < 1 for model in judge._models)


def test_evidence_is_left_out_under_strain_and_bounded_live(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtc_sensor.judging.MOST_LIVE", 2)
    measures, (model, _) = Measures(), models(paths)
    model.policy = replace(model.policy, threshold=0.0)
    # so that parts of these connections speak for malice
    model.bundle.network.output[1].weight.mul_(-100)  # type: ignore[index, union-attr]
    live, replay = (
        SampleJudge("s1", [model], clock_us=clock, measures=measures) for clock in (lambda: 0, None)
    )
    assert explained(live) == [True, True, False, False, False]
    assert measures.read().shed == {"unexplained:byte_matrix": 3}
    assert explained(live, 0.01) == [False] * 5
    assert measures.read().shed == {"unexplained:byte_matrix": 8}
    assert explained(replay) == [True] * 5
    assert measures.read().shed == {"unexplained:byte_matrix": 8}


def explained(judge: SampleJudge, strain: float = 0.0) -> list[bool]:
    ((said,),) = judge(PARTS, strain)
    return ["decided by" in event.detail for event in said]


def test_a_wall_clock_stepped_back_gives_no_negative_latency(paths: list[Path]) -> None:
    heard: list[Verdicts] = []
    times = iter([SAMPLES[0].start_us + 10_000_000, SAMPLES[0].start_us - 3_600_000_000])
    judge = SampleJudge("s1", models(paths)[:1], heard.append, lambda: next(times))
    told(judge)
    told(judge)
    assert (heard[0].latency_us == 10_000_000 - 7000).all()
    assert (heard[1].latency_us == 0).all()


def test_warming_up_says_and_counts_nothing(paths: list[Path]) -> None:
    measures, heard = Measures(), list[Verdicts]()
    SampleJudge("s1", models(paths), heard.append, measures=measures).warm_up()
    assert heard == []
    assert measures.read().verdicts == {}


def test_verdicts_go_to_the_streams_of_their_samples(paths: list[Path]) -> None:
    first = records_of([*map(head, SAMPLES[:2])])
    second = replace(records_of([*map(head, SAMPLES[2:])]), stream=StreamId("r2", "w2", 3))
    answers = list(SampleJudge("s1", models(paths))([first, second]))
    assert len(answers) == 2
    for said in answers:
        assert [{(event.node, event.shard, event.seq) for event in its} for its in said] == [
            {("worker-1", 0, 1), ("worker-1", 0, 2)},
            {("w2", 3, 3), ("w2", 3, 4), ("w2", 3, 5)},
        ]
        assert all(event.uid == SAMPLES[0].uid for its in said for event in its)
