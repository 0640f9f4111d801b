import numpy as np

from mtc_sensor.training.baselines import boosted_trees, nearest_neighbour


def test_baselines_find_what_is_plain() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 200)
    inputs = (rng.integers(0, 100, (200, 2, 3)) + 120 * labels[:, None, None]).astype(np.uint8)
    for baseline in (nearest_neighbour, boosted_trees):
        found = baseline(inputs[:150], labels[:150], inputs[150:], 3)
        assert found.shape == (50, 3)
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
        assert (found.argmax(1) == labels[150:]).all()
