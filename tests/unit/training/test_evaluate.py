import numpy as np
import pytest

from mtc_sensor.training.baselines import boosted_trees, nearest_neighbour
from mtc_sensor.training.evaluate import (
    auroc,
    calibration_error,
    detection_at,
    fit_temperature,
    macro_f1,
    softmax,
    threshold_at,
)

POSITIVE = np.array([False, False, False, True, True])


def test_auroc_counts_ties_half() -> None:
    assert auroc(np.array([0.1, 0.2, 0.3, 0.8, 0.9]), POSITIVE) == 1
    assert auroc(np.array([0.1, 0.2, 0.5, 0.5, 0.9]), POSITIVE) == pytest.approx(5.5 / 6)
    assert auroc(np.zeros(5), POSITIVE) == 0.5


def test_a_threshold_keeps_to_its_rate() -> None:
    negatives = np.arange(1000) / 1000
    for rate, allowed in ((0.0, 0), (0.001, 1), (0.0019, 1), (0.05, 50)):
        assert (negatives >= threshold_at(negatives, rate)).sum() == allowed


def test_equal_scores_are_not_cut_apart() -> None:
    assert (np.full(10, 0.5) >= threshold_at(np.full(10, 0.5), 0.1)).sum() == 0


def test_detection_at_a_rate() -> None:
    scores = np.array([0.1, 0.2, 0.6, 0.5, 0.9])
    assert detection_at(scores, POSITIVE, 0.0) == 0.5
    assert detection_at(scores, POSITIVE, 0.34) == 1.0


def test_macro_f1_is_over_the_classes_that_occur() -> None:
    labels, found = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0])
    assert macro_f1(found, labels, 5) == pytest.approx((0.8 + 2 / 3) / 2)


def test_the_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (4000, 3)).astype(np.float32)
    labels = np.array([rng.choice(3, p=row) for row in softmax(logits, 1.0)])
    assert fit_temperature(logits * 3, labels) == pytest.approx(3, rel=0.1)
    assert calibration_error(softmax(logits, 1.0), labels) < 0.03
    assert calibration_error(softmax(logits * 3, 1.0), labels) > 0.1


def test_baselines_find_what_is_plain() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 200)
    inputs = (rng.integers(0, 100, (200, 2, 3)) + 120 * labels[:, None, None]).astype(np.uint8)
    for baseline in (nearest_neighbour, boosted_trees):
        found = baseline(inputs[:150], labels[:150], inputs[150:], 3)
        assert found.shape == (50, 3)
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
        assert (found.argmax(1) == labels[150:]).all()
