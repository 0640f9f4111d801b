"""Models of scikit-learn, served as ONNX through onnxruntime.

An ONNX file is a program: only the operators that such models are made of are let in, without
subgraphs, functions, or data in other files.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

FORESTS = (
    "bernoulli-nb",
    "boosted-trees",
    "decision-tree",
    "linear-svc",
    "logistic-regression",
    "multinomial-nb",
    "random-forest",
)
"""Names of networks in bundles that have a model.onnx instead of weights."""

INPUT, PROBABILITIES = "input", "probabilities"
_LEAST = 1e-7
"""A probability of 0 is not believed."""
_OPERATORS = {
    "Abs", "Add", "ArgMax", "ArrayFeatureExtractor", "Binarizer", "Cast", "Clip", "Concat", "Div",
    "Exp", "Flatten", "Gather", "Gemm", "Greater", "Identity", "LinearClassifier", "Log", "MatMul",
    "Max", "Mul", "Neg", "Normalizer", "Not", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceSum", "Reshape", "SVMClassifier", "Scaler", "Shape", "Sigmoid", "Slice", "Softmax",
    "Sqrt", "Squeeze", "Sub", "Sum", "Transpose", "TreeEnsembleClassifier", "TreeEnsembleRegressor",
    "Unsqueeze", "Where",
}  # fmt: skip


class OnnxForest(nn.Module):
    """An ONNX model as a module; it runs on the CPU, whatever the device of its inputs.

    Parameters
    ----------
    data
        The file's content.
    shape
        Of one input, which is made flat.
    labels
        How many probabilities it has to give.

    Raises
    ------
    ImportError
        Without onnx and onnxruntime.
    ValueError
        For what is no such model.
    """

    def __init__(self, data: bytes, shape: tuple[int, ...], labels: int) -> None:
        super().__init__()
        self.data = data
        self._width = math.prod(shape)
        _check(data)
        self._session = _session(data)
        outputs = {output.name for output in self._session.get_outputs()}
        inputs = [given.name for given in self._session.get_inputs()]
        if inputs != [INPUT] or PROBABILITIES not in outputs:
            raise ValueError(f"it takes {inputs} and gives {sorted(outputs)}")
        found = self(torch.zeros(2, *shape))
        if found.shape != (2, labels):
            raise ValueError(f"it gives {list(found.shape)} for 2 inputs and {labels} labels")

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (B, labels) logarithms of probabilities of (B, ...) numbers."""
        values = inputs.reshape(len(inputs), self._width).float().cpu().numpy()
        try:
            found = self._session.run([PROBABILITIES], {INPUT: values})[0]
        except Exception as fault:  # onnxruntime's own kinds derive from nothing narrower
            raise ValueError(f"onnxruntime: {fault!s:.200}") from fault
        return torch.from_numpy(np.log(np.maximum(found, _LEAST))).to(inputs.device)


def _check(data: bytes) -> None:
    import onnx  # noqa: PLC0415 - not every bundle needs it

    try:
        model = onnx.load_model_from_string(data)
    except Exception as fault:  # protobuf's DecodeError lies in another package by version
        raise ValueError(f"not ONNX: {fault!s:.200}") from fault
    graph = model.graph
    for node in graph.node:
        if node.op_type not in _OPERATORS or node.domain not in ("", "ai.onnx", "ai.onnx.ml"):
            raise ValueError(f"operator {node.domain}:{node.op_type} is not one of such models")
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise ValueError(f"operator {node.op_type} holds a graph")
    if model.functions or graph.sparse_initializer:
        raise ValueError("it holds functions or sparse tensors")
    if any(tensor.external_data for tensor in graph.initializer):
        raise ValueError("it keeps data in another file")


def _session(data: bytes) -> Any:
    import onnxruntime  # noqa: PLC0415 - not every bundle needs it

    options = onnxruntime.SessionOptions()
    # with several, trees are summed in an order that depends on the batch
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as fault:  # onnxruntime's own kinds derive from nothing narrower
        raise ValueError(f"onnxruntime: {fault!s:.200}") from fault
