import math
from dataclasses import replace

import numpy as np
import pytest

from mtc_sensor.errors import DataError
from mtc_sensor.inference import Model
from mtc_sensor.models.bundle import load_bundle
from mtc_sensor.training.answers import Answers, Space, measure, space_of
from mtc_sensor.training.tasks import Task

from ..models.bundles import make_bundle

BINARY = Space(("benign", "bad"), np.array([False, True]), np.arange(2), np.arange(2))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(load_bundle(make_bundle(tmp_path_factory.mktemp("m") / "m")), "cpu")


def task(labels: tuple[str, ...], malicious: tuple[str, ...] = ()) -> Task:
    return Task("t", labels, malicious, (), lambda _, flows: np.zeros(len(flows), np.int64))


def test_labels_that_both_know_are_kept(model: Model) -> None:
    space = space_of(model, task(("worm", "benign", "never")), np.array([0, 1, 1]))
    assert space.labels == ("benign", "bot", "worm")
    assert space.of_task.tolist() == [2, 0, -1]


def test_strange_labels_become_malicious_or_benign(model: Model) -> None:
    space = space_of(model, task(("web", "zeus"), ("zeus",)), np.array([0, 1]))
    assert space.labels == ("benign", "malicious")
    assert space.of_task.tolist() == [0, 1]
    probabilities = np.array([[0.5, 0.2, 0.3]], np.float32)
    np.testing.assert_allclose(space.collapse(probabilities), [[0.5, 0.5]])


def test_without_malicious_labels_strange_ones_are_left_out(model: Model) -> None:
    harmless = Model(model.bundle, "cpu")
    harmless.policy = replace(model.policy, malicious=frozenset(), threshold=None)
    some = space_of(harmless, task(("bot", "web")), np.array([0, 1]))
    assert some.of_task.tolist() == [1, -1]
    with pytest.raises(DataError, match=r"knows none.*--task"):
        space_of(harmless, task(("web",)), np.array([0]))


def answers(malice: list[float], label: list[int], group: list[int]) -> Answers:
    bad = np.array(malice)
    probabilities = np.stack([1 - bad, bad], axis=1)
    unknown = np.abs(bad - 0.5) < 0.2
    return Answers(BINARY, probabilities, np.array(label), np.array(group), unknown)


def test_figures_of_a_few_records() -> None:
    measured = measure(answers([0.1, 0.4, 0.9, 0.2], [0, 0, 1, 1], [0, 1, 2, 3]))
    figures = measured.figures
    assert figures["accuracy"] == 0.75
    assert figures["auroc"] == 0.75
    assert figures["tpr@0.01"] == 0.5
    assert figures["unknown_rate"] == 0.25
    assert measured.table.tolist() == [[2, 0], [1, 1]]


def test_a_record_without_a_label_counts_for_unknown_only() -> None:
    measured = measure(answers([0.1, 0.9, 0.5], [0, 1, -1], [0, 1, 2]))
    assert measured.figures["accuracy"] == 1
    assert measured.figures["unknown_rate"] == pytest.approx(1 / 3)
    assert measured.table.sum() == 2


def test_benign_records_alone_have_no_auroc() -> None:
    assert math.isnan(measure(answers([0.1, 0.4], [0, 0], [0, 1])).figures["auroc"])


def test_captures_not_records_make_the_interval() -> None:
    """A thousand records of two captures, one right and one wrong, say as much as two records."""
    label = [0] * 1000
    malice = [0.1] * 500 + [0.9] * 500
    two = measure(answers(malice, label, [0] * 500 + [1] * 500)).intervals["accuracy"]
    many = measure(answers(malice, label, list(range(1000)))).intervals["accuracy"]
    assert two == (0, 1)
    assert many[1] - many[0] < 0.1


def test_near_one_the_order_is_kept() -> None:
    close = np.array([[1e-9, 1.0], [1e-11, 1.0], [0.5, 0.5]])
    zeros = np.zeros(3, np.int64)
    malice = Answers(BINARY, close, zeros, zeros, zeros.astype(np.bool_)).malice
    assert malice[1] > malice[0] > malice[2]
