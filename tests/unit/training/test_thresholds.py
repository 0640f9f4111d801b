import numpy as np
import pytest
from numpy.typing import NDArray

from mtc_sensor.training.thresholds import AlertBudget, alert_threshold


def scores(count: int, seed: int = 1) -> NDArray[np.float64]:
    """Scores whose logits are exponential above 0: one in 1000 is beyond ln 1000."""
    logits = np.random.default_rng(seed).exponential(1.0, count)
    return 1 / (1 + np.exp(-logits))


def test_a_budget_is_a_rate() -> None:
    assert AlertBudget(20, 1e7).rate == pytest.approx(2e-6)
    for alerts, flows in ((0, 10), (10, 10), (1, float("inf")), (float("nan"), 10)):
        with pytest.raises(ValueError, match="a day"):
            AlertBudget(alerts, flows)


def test_with_enough_records_the_threshold_is_a_quantile() -> None:
    found = alert_threshold(scores(100_000), 1e-3)
    assert not found.extrapolated
    assert (scores(100_000) >= found.value).sum() == 100
    assert found.negatives == 100_000


def test_beyond_them_it_lies_on_the_tail() -> None:
    logits = []
    for seed in range(20):
        found = alert_threshold(scores(2000, seed), 1e-5)
        assert found.extrapolated
        logits.append(np.log(found.value / (1 - found.value)))
    assert np.median(logits) == pytest.approx(np.log(1e5), rel=0.15)


def test_a_smaller_budget_never_lowers_it() -> None:
    negatives = scores(500)
    found = [alert_threshold(negatives, rate).value for rate in (1e-1, 1e-2, 1e-3, 1e-5, 1e-7)]
    assert found == sorted(found)
    assert found[-1] < 1


def test_equal_scores_and_few_of_them_make_one_too() -> None:
    assert 0.3 <= alert_threshold(np.full(50, 0.3), 1e-6).value < 0.31
    assert alert_threshold(np.array([0.5]), 1e-6).value >= 0.5
    assert alert_threshold(np.ones(100), 1e-6).value < 1
    with pytest.raises(ValueError, match="no benign"):
        alert_threshold(np.empty(0), 1e-6)
