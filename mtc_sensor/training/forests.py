"""Models of scikit-learn: fitted to drawn inputs, converted to ONNX."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mtc_sensor.errors import ConfigError
from mtc_sensor.models.forest import INPUT, OnnxForest
from mtc_sensor.training.boosted_onnx import OPSET, boosted_onnx
from mtc_sensor.training.recipe import Recipe
from mtc_sensor.training.sampler import Sampler

Args = dict[str, Any]


def fit_forest(recipe: Recipe, sampler: Sampler, shape: tuple[int, ...], labels: int) -> OnnxForest:
    """Fit the recipe's estimator and return it as it will be served.

    It sees each training input once, by its weight; with augmentation `epochs` draws of as many
    records as there are.

    Raises
    ------
    ConfigError
        If scikit-learn refuses an argument or the inputs.
    """
    inputs, label, weights = _drawn(recipe, sampler)
    try:
        estimator = _ESTIMATORS[recipe.network.name](recipe.seed, dict(recipe.network.args))
        last = f"{estimator.steps[-1][0]}__" if hasattr(estimator, "steps") else ""
        estimator.fit(inputs, label, **{f"{last}sample_weight": weights})
    except (TypeError, ValueError) as fault:
        raise ConfigError(f"network: {recipe.network.name}: {fault!s:.300}") from fault
    return OnnxForest(_converted(estimator, math.prod(shape)), shape, labels)


def _drawn(
    recipe: Recipe, sampler: Sampler
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float64]]:
    if not recipe.augment:
        inputs, label, weights = sampler.everything()
        return *_flat(inputs, label), weights
    rng = np.random.default_rng(recipe.seed)
    parts = [_flat(*sampler.draw(rng, len(sampler))) for _ in range(recipe.epochs)]
    drawn, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    return drawn, labels, np.ones(len(labels))


def _flat(inputs: Tensor, label: Tensor) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    return inputs.flatten(1).float().numpy(), label.numpy()


def _converted(estimator: Any, width: int) -> bytes:
    if hasattr(estimator, "n_trees_per_iteration_"):
        return boosted_onnx(estimator, width)
    from skl2onnx import convert_sklearn  # noqa: PLC0415 - extra `train`
    from skl2onnx.common.data_types import FloatTensorType  # noqa: PLC0415

    model = convert_sklearn(
        estimator,
        initial_types=[(INPUT, FloatTensorType([None, width]))],
        options={id(estimator): {"zipmap": False}},
        target_opset=OPSET,
    )
    data: bytes = model.SerializeToString()
    return data


def _random_forest(seed: int, args: Args) -> Any:
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415 - extra `train`

    return RandomForestClassifier(**{"n_estimators": 100, **args}, random_state=seed)


def _decision_tree(seed: int, args: Args) -> Any:
    from sklearn.tree import DecisionTreeClassifier  # noqa: PLC0415

    return DecisionTreeClassifier(**args, random_state=seed)


def _boosted_trees(seed: int, args: Args) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415

    return HistGradientBoostingClassifier(**args, random_state=seed)


def _bernoulli_nb(seed: int, args: Args) -> Any:
    from sklearn.naive_bayes import BernoulliNB  # noqa: PLC0415

    return BernoulliNB(**args)


def _multinomial_nb(seed: int, args: Args) -> Any:
    from sklearn.naive_bayes import MultinomialNB  # noqa: PLC0415

    return MultinomialNB(**args)


def _logistic_regression(seed: int, args: Args) -> Any:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    return _scaled(LogisticRegression(**{"max_iter": 1000, **args}, random_state=seed))


def _linear_svc(seed: int, args: Args) -> Any:
    from sklearn.calibration import CalibratedClassifierCV  # noqa: PLC0415
    from sklearn.svm import LinearSVC  # noqa: PLC0415

    return _scaled(CalibratedClassifierCV(LinearSVC(**args, random_state=seed), cv=3))


def _scaled(estimator: Any) -> Any:
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import MaxAbsScaler  # noqa: PLC0415

    return make_pipeline(MaxAbsScaler(), estimator)


_ESTIMATORS: dict[str, Callable[[int, Args], Any]] = {
    "bernoulli-nb": _bernoulli_nb,
    "boosted-trees": _boosted_trees,
    "decision-tree": _decision_tree,
    "linear-svc": _linear_svc,
    "logistic-regression": _logistic_regression,
    "multinomial-nb": _multinomial_nb,
    "random-forest": _random_forest,
}
"""By their names in bundles (`models.forest.FORESTS`)."""
