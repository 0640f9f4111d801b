import numpy as np

from mtc_sensor.features.sizes import sizes
from mtc_sensor.features.spec import SizesSpec

from .build import batch_of, packets

A = packets([0, 0.001, 1], [60, 1500, 40], responder=[0, 1, 0], payload=[0, 1448, 0])
B = packets([0], [65535], responder=[1])


def test_sizes_have_a_sign_and_gaps_are_logarithms() -> None:
    found = sizes(batch_of([A, B]), SizesSpec(packets=4))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0, :, 0] * 1500, [60, -1500, 40, 0], atol=1e-3)
    np.testing.assert_allclose(found[0, :, 1], np.log1p([0, 1000, 999_000, 0]) / 16, atol=1e-6)
    np.testing.assert_allclose(found[1, :, 0] * 1500, [-65535, 0, 0, 0])
    assert not found[1, :, 1].any()  # a record's first packet has no gap


def test_payload_sizes_without_times() -> None:
    found = sizes(batch_of([A, B]), SizesSpec(packets=2, size="payload", times=False))
    assert found.shape == (2, 2, 1)
    np.testing.assert_allclose(found[0, :, 0] * 1500, [0, -1448], atol=1e-3)


def test_nothing_in_nothing_out() -> None:
    assert sizes(batch_of([]), SizesSpec()).shape == (0, 10, 2)
    assert not sizes(batch_of([[], A]), SizesSpec())[0].any()


def test_a_time_that_goes_back_is_no_gap() -> None:
    back = packets([0, 5, 1], [60, 60, 60])
    assert sizes(batch_of([back]), SizesSpec(packets=3))[0, 2, 1] == 0
