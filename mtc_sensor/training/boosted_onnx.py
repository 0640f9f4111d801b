"""Boosted trees of scikit-learn as ONNX; skl2onnx 1.20 writes numbers that onnx 1.23 refuses."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.models.forest import INPUT, PROBABILITIES

OPSET = {"": 18, "ai.onnx.ml": 3}
_IR_VERSION = 9
_RAW = "raw"

Attributes = dict[str, Any]


def boosted_onnx(estimator: Any, width: int) -> bytes:
    """Convert a fitted `HistGradientBoostingClassifier` on `width` numbers that are never NaN.

    The trees of one iteration add to one logit each. With two classes there is one tree, which adds
    to the second's; the first's stays 0.
    """
    from onnx import TensorProto, helper  # noqa: PLC0415 - extra `forest`

    classes = len(estimator.classes_)
    first = 1 if estimator.n_trees_per_iteration_ == 1 else 0
    base = np.zeros(classes)
    base[first:] = np.ravel(estimator._baseline_prediction)
    attributes: Attributes = defaultdict(list)
    trees = [
        (first + target, tree.nodes)
        for iteration in estimator._predictors
        for target, tree in enumerate(iteration)
    ]
    for number, (target, nodes) in enumerate(trees):
        _add_tree(attributes, number, target, nodes)
    graph = helper.make_graph(
        [
            helper.make_node(
                "TreeEnsembleRegressor", [INPUT], [_RAW], domain="ai.onnx.ml",
                n_targets=classes, base_values=base.tolist(), **attributes,
            ),
            helper.make_node("Softmax", [_RAW], [PROBABILITIES], axis=1),
        ],
        "boosted-trees",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, [None, classes])],
    )  # fmt: skip
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSET.items()]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
    data: bytes = model.SerializeToString()
    return data


def _add_tree(attributes: Attributes, number: int, target: int, nodes: NDArray[np.void]) -> None:
    leaf = nodes["is_leaf"].astype(np.bool_)
    count = len(nodes)
    # Inputs are 32-bit: the largest such number that is not above a threshold splits them alike.
    exact = np.where(leaf, 0, nodes["num_threshold"])
    threshold = exact.astype(np.float32)
    threshold = np.where(threshold > exact, np.nextafter(threshold, np.float32(-np.inf)), threshold)
    columns: dict[str, list[Any]] = {
        "nodes_treeids": [number] * count,
        "nodes_nodeids": list(range(count)),
        "nodes_featureids": np.where(leaf, 0, nodes["feature_idx"]).tolist(),
        "nodes_modes": np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_values": threshold.tolist(),
        "nodes_truenodeids": np.where(leaf, 0, nodes["left"]).tolist(),
        "nodes_falsenodeids": np.where(leaf, 0, nodes["right"]).tolist(),
        "target_treeids": [number] * int(leaf.sum()),
        "target_nodeids": np.flatnonzero(leaf).tolist(),
        "target_ids": [target] * int(leaf.sum()),
        "target_weights": nodes["value"][leaf].tolist(),
    }
    for name, values in columns.items():
        attributes[name].extend(values)
