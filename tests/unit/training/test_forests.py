import numpy as np
import pytest
import torch

from mtc_sensor.errors import ConfigError
from mtc_sensor.features.spec import SizesSpec
from mtc_sensor.models.forest import FORESTS, OnnxForest
from mtc_sensor.training.forests import _ESTIMATORS, _converted, fit_forest
from mtc_sensor.training.manifest import Source
from mtc_sensor.training.sampler import Sampler

from .corpus import recipe
from .labelled import flows, labelled


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", FORESTS)
def test_what_is_served_is_what_was_fitted(name: str, classes: int) -> None:
    rng = np.random.default_rng(1)
    inputs = np.abs(rng.normal(size=(300, 6))).astype(np.float32)
    label = (inputs[:, 1] * classes / 2).astype(np.int64).clip(0, classes - 1)
    estimator = _ESTIMATORS[name](1, {})
    estimator.fit(inputs, label)
    expected = estimator.predict_proba(inputs)
    served = OnnxForest(_converted(estimator, 6), (3, 2), classes)
    found = served(torch.from_numpy(inputs).view(-1, 3, 2)).exp().numpy()
    np.testing.assert_allclose(found, np.maximum(expected, 1e-7), atol=1e-5)


def test_thresholds_between_two_inputs_split_them_alike() -> None:
    close = np.float32(1) + np.arange(40, dtype=np.float32) * np.float32(2**-23)
    label = (np.arange(40) % 2).astype(np.int64)
    estimator = _ESTIMATORS["boosted-trees"](1, {"min_samples_leaf": 1, "max_iter": 20})
    estimator.fit(close[:, None], label)
    served = OnnxForest(_converted(estimator, 1), (1,), 2)
    found = served(torch.from_numpy(close[:, None])).exp().numpy()
    np.testing.assert_allclose(found, estimator.predict_proba(close[:, None]), atol=1e-5)


def sampler(count: int = 40) -> Sampler:
    made = labelled([0, 1] * (count // 2), [0] * count, [Source("a", "x")])
    return Sampler(made, np.ones(count), SizesSpec(times=False), recipe(input={"kind": "sizes"}))


def settings(**args: object) -> dict[str, object]:
    return {"network": {"name": "decision-tree", "args": args}, "input": {"kind": "sizes"}}


def test_without_balance_every_input_is_seen_once() -> None:
    none = {"classes": "none", "groups": "none"}
    forest = fit_forest(recipe(**settings(), balance=none), sampler(), (10, 1), 2)
    inputs, label, _ = sampler().everything()
    assert (forest(inputs).argmax(1) == label).all()


def test_records_count_by_their_weights() -> None:
    made = labelled([0, 1, 0, 1], [0] * 4, [Source("a", "x")], flows([[60], [60], [70], [70]]))
    weights = np.array([9.0, 1.0, 1.0, 9.0])
    weighed = Sampler(made, weights, SizesSpec(times=False), recipe(input={"kind": "sizes"}))
    forest = fit_forest(recipe(**settings()), weighed, (10, 1), 2)
    found = forest(weighed.everything()[0]).exp()
    np.testing.assert_allclose(found[:, 1], [0.1, 0.1, 0.9, 0.9], atol=1e-5)


def test_an_argument_that_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"network: decision-tree: .*'depth'"):
        fit_forest(recipe(**settings(depth=3)), sampler(), (10, 1), 2)
