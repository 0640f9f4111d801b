import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from mtc_sensor.training.metrics import (
    Ranking,
    accuracy,
    auroc,
    calibration_error,
    calibration_floor,
    confusion,
    debiased_calibration_error,
    macro_f1,
    mean_f1,
    per_class,
    reliability,
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
    ranking = Ranking(scores, POSITIVE)
    assert ranking.detection(0.0) == 0.5
    assert ranking.detection(0.34) == 1.0


def test_macro_f1_is_over_the_classes_that_occur() -> None:
    labels, found = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0])
    assert macro_f1(found, labels, 5) == pytest.approx((0.8 + 2 / 3) / 2)


def test_a_bootstrap_weight_repeats_a_row() -> None:
    rng = np.random.default_rng(1)
    scores, positive = rng.integers(0, 20, 60) / 20, rng.random(60) < 0.4
    weights = rng.integers(0, 4, 60).astype(np.float64)
    repeated = np.repeat(np.arange(60), weights.astype(np.int64))
    ranking, plain = Ranking(scores, positive), Ranking(scores[repeated], positive[repeated])
    assert ranking.auroc(weights) == pytest.approx(plain.auroc())
    for rate in (0.0, 0.01, 0.1, 0.5):
        assert ranking.detection(rate, weights) == pytest.approx(plain.detection(rate))


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=2, max_size=60))
def test_auroc_is_scikit_learns(rows: list[tuple[int, bool]]) -> None:
    scores = np.array([score for score, _ in rows], np.float64)
    positive = np.array([positive for _, positive in rows])
    if positive.all() or not positive.any():
        assert math.isnan(auroc(scores, positive))
    else:
        assert auroc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))


def test_the_curve_runs_from_nothing_to_everything() -> None:
    alarms, hits = Ranking(np.array([0.1, 0.2, 0.3, 0.8, 0.9]), POSITIVE).curve()
    assert alarms.tolist() == [0, 0, 0, 1 / 3, 2 / 3, 1]
    assert hits.tolist() == [0, 0.5, 1, 1, 1, 1]


def test_per_class_is_scikit_learns() -> None:
    rng = np.random.default_rng(1)
    labels, predicted = rng.integers(0, 4, 200), rng.integers(0, 5, 200)
    found = per_class(confusion(labels, predicted, 6))
    expected = precision_recall_fscore_support(labels, predicted, labels=range(6), zero_division=0)
    ours = (found.precision, found.recall, found.f1, found.support)
    for mine, theirs in zip(ours, expected, strict=True):
        np.testing.assert_allclose(mine, theirs)


def test_nothing_to_measure_is_not_a_number() -> None:
    empty = confusion(np.empty(0, np.int64), np.empty(0, np.int64), 3)
    assert math.isnan(accuracy(empty))
    assert math.isnan(mean_f1(empty))
    for error in (calibration_error, debiased_calibration_error):
        assert math.isnan(error(np.empty((0, 3)), np.empty(0, np.int64)))


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    probabilities = np.tile([0.9, 0.1], (10, 1))
    labels = np.array([0] * 6 + [1] * 4)
    assert calibration_error(probabilities, labels) == pytest.approx(0.3)
    assert calibration_error(probabilities, labels, np.repeat([1.0, 0.0], [6, 4])) == (
        pytest.approx(0.1)
    )
    bins = reliability(probabilities, labels)
    assert bins.confidence[13] == pytest.approx(0.9)
    assert bins.accuracy[13] == pytest.approx(0.6)
    assert bins.share[13] == 1


def sure_by(wrong: float, count: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Confidences of 0.6 to 0.9, and labels that are right less often by `wrong`."""
    rng = np.random.default_rng(seed)
    sure = rng.uniform(0.6, 0.9, count)
    labels = (rng.random(count) >= sure - wrong).astype(np.int64)
    return np.column_stack([sure, 1 - sure]), labels


def test_few_rows_raise_the_calibration_error_but_not_the_debiased_one() -> None:
    found = [debiased_calibration_error(*sure_by(0, 300, seed)) ** 2 for seed in range(60)]
    chance = [calibration_error(*sure_by(0, 300, seed)) for seed in range(60)]
    assert np.mean(chance) > 0.03
    assert np.median(found) < 0.03**2
    wrong = [debiased_calibration_error(*sure_by(0.2, 300, seed)) ** 2 for seed in range(60)]
    assert np.mean(wrong) == pytest.approx(0.2**2, rel=0.1)


def test_rows_drawn_again_do_not_count_as_more_evidence() -> None:
    probabilities, labels = sure_by(0.2, 600, 1)
    rng = np.random.default_rng(2)
    drawn = [rng.multinomial(600, np.full(600, 1 / 600)).astype(np.float64) for _ in range(60)]
    again = [debiased_calibration_error(probabilities, labels, w) ** 2 for w in drawn]
    once = debiased_calibration_error(probabilities, labels) ** 2
    assert np.mean(again) == pytest.approx(once, rel=0.1)
    doubled = debiased_calibration_error(probabilities, labels, np.full(600, 2.0)) ** 2
    assert doubled == pytest.approx(once)


def test_the_floor_is_what_chance_gives_to_few_rows() -> None:
    few, many = np.full((20, 2), 0.5), np.full((20_000, 2), 0.5)
    assert calibration_floor(few) > 0.05
    assert calibration_floor(many) < 0.01
