import numpy as np
import pytest
from numpy.typing import NDArray

from mtc_sensor.models.novelty import calibrated
from mtc_sensor.models.schema import Calibration
from mtc_sensor.training.calibration import Samples, fit_calibration, softmax
from mtc_sensor.training.metrics import calibration_error

EACH = np.arange(3)


def drawn(
    count: int, seed: int, sharpen: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits, and labels drawn from their probabilities; the logits then made too large."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, 3)).astype(np.float32)
    labels = np.array([rng.choice(3, p=row) for row in softmax(logits, 1.0)])
    return (logits * sharpen).astype(np.float32), labels


def test_the_temperature_undoes_overconfidence() -> None:
    logits, labels = drawn(4000, 1, sharpen=3)
    assert calibration_error(softmax(logits, 3.0), labels) < 0.03
    assert calibration_error(softmax(logits, 1.0), labels) > 0.1


def test_a_calibration_undoes_overconfidence_too() -> None:
    logits, labels = drawn(2000, 1, sharpen=3)
    probabilities = softmax(logits, 1.0).astype(np.float32)
    fit = fit_calibration(Samples(probabilities, None, labels, np.arange(2000) % 40), EACH)
    assert np.exp(fit.calibration.gain) == pytest.approx(1 / 3, rel=0.15)
    assert fit.calibration.fade == 0
    assert fit.before > 0.1
    assert fit.error < fit.floor + 0.02
    assert fit.debiased < 0.04
    assert fit.between[0] <= fit.debiased <= fit.between[1] < 0.06


def test_confidence_falls_with_distance_where_that_is_so() -> None:
    logits, labels = drawn(1200, 2)
    rng = np.random.default_rng(3)
    far = rng.random(1200) < 0.5
    labels = np.where(far, rng.integers(0, 3, 1200), labels)
    novelty = np.where(far, 0.8, 0.1).astype(np.float32)
    probabilities = softmax(logits, 1.0).astype(np.float32)
    group = np.arange(1200) % 30
    with_distance = fit_calibration(Samples(probabilities, novelty, labels, group), EACH)
    without = fit_calibration(Samples(probabilities, None, labels, group), EACH)
    assert with_distance.calibration.fade > 1
    far_off = [abs(f.probabilities[far].max(1).mean() - 1 / 3) for f in (with_distance, without)]
    assert far_off[0] < 0.05
    assert far_off[1] > 0.15


def test_what_is_held_out_is_not_fitted() -> None:
    """A bias that one capture asks for does not show in that capture's own probabilities."""
    probabilities = np.full((400, 2), 0.5, np.float32)
    labels, group = np.repeat([0, 1], 200), np.repeat([0, 1], 200)
    fit = fit_calibration(Samples(probabilities, None, labels, group), EACH[:2])
    assert fit.calibration.bias == [0, 0]
    assert fit.error == pytest.approx(0, abs=0.01)


def test_no_records_no_calibration() -> None:
    nothing = np.empty(0, np.int64)
    with pytest.raises(ValueError, match="nothing"):
        fit_calibration(Samples(np.empty((0, 2), np.float32), None, nothing, nothing), EACH[:2])


def test_calibrated_is_a_softmax_of_scaled_logarithms() -> None:
    probabilities = np.array([[0.8, 0.2], [0.8, 0.2], [np.nan, np.nan]], np.float32)
    how = Calibration(gain=float(np.log(2)), fade=1.0, bias=[0.0, 0.0])
    novelty = np.array([0, np.log(2), 0], np.float32)
    found = calibrated(probabilities, novelty, how)
    np.testing.assert_allclose(found[0], [16 / 17, 1 / 17], rtol=1e-5)
    np.testing.assert_allclose(found[1], [0.8, 0.2], rtol=1e-5)
    assert np.isnan(found[2]).all()
    shifted = calibrated(probabilities[:1], novelty[:1], Calibration(gain=0, fade=0, bias=[0, 5]))
    assert shifted.argmax() == 1


def test_labels_that_are_alike_share_a_bias() -> None:
    logits, labels = drawn(2000, 5)
    probabilities = softmax(logits + np.array([3, 0, 0], np.float32), 1.0).astype(np.float32)
    samples = Samples(probabilities, None, labels, np.arange(2000) % 20)
    bias = fit_calibration(samples, np.array([0, 1, 1])).calibration.bias
    assert bias[1] == bias[2]
    assert bias[1] - bias[0] == pytest.approx(3, rel=0.25)
