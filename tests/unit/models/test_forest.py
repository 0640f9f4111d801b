"""ONNX models as bundles: served like networks, refused if they are anything else."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from mtc_sensor.errors import BundleError
from mtc_sensor.inference import Model
from mtc_sensor.models.bundle import ONNX, load_bundle, save_bundle, verify
from mtc_sensor.models.forest import OnnxForest
from mtc_sensor.models.weights import sha256_of

from .bundles import change_config, settings


def linear(
    *, operator: str = "MatMul", output: str = "probabilities", external: bool = False
) -> bytes:
    """A softmax of 20 numbers times a matrix."""
    weights = numpy_helper.from_array(np.eye(20, 3, dtype=np.float32), "weights")
    if external:
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
        entry = weights.external_data.add()
        entry.key, entry.value = "location", "/etc/passwd"
    graph = helper.make_graph(
        [
            helper.make_node(operator, ["input", "weights"], ["raw"]),
            helper.make_node("Softmax", ["raw"], [output], axis=1),
        ],
        "small",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, 20])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [None, 3])],
        [weights],
    )
    opsets = [helper.make_opsetid("", 18)]
    data: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    return data


SIZES = {"kind": "sizes", "packets": 10}


def make_forest(path: Path, spec: dict[str, Any] = SIZES, shape: tuple[int, ...] = (10, 2)) -> Path:
    config = {**settings(), "network": {"name": "random-forest"}, "input": spec}
    reference = torch.rand(4, *shape)
    save_bundle(path, config, OnnxForest(linear(), shape, 3), reference, "# small\n")
    return path


def replace_onnx(path: Path, data: bytes) -> None:
    (path / ONNX).write_bytes(data)
    change_config(path, weights_sha256=sha256_of(data))


def test_a_forest_is_served_as_a_network_is(tmp_path: Path) -> None:
    path = make_forest(tmp_path / "a")
    assert verify(path) < 1e-6
    bundle = load_bundle(path)
    inputs = torch.rand(5, 10, 2)
    expected = torch.softmax(inputs.flatten(1)[:, :3] / 2, dim=1)  # temperature 2
    probabilities, features = bundle.outputs(inputs)
    torch.testing.assert_close(probabilities, expected, atol=1e-5, rtol=1e-4)
    assert torch.equal(features, inputs.flatten(1))
    assert Model(bundle, "cpu").name == "small"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x80\x04pickle", "like a pickle"),
        (b"nonsense", "not ONNX"),
        (linear(operator="Loop"), "operator :Loop is not one of such models"),
        (linear(operator="MatMulInteger"), "MatMulInteger is not one"),
        (linear(output="other"), "gives ['other']"),
        (linear(external=True), "keeps data in another file"),
    ],
)
def test_what_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = make_forest(tmp_path / "a")
    replace_onnx(path, data)
    with pytest.raises(BundleError) as refusal:
        load_bundle(path)
    assert message in str(refusal.value)
    assert str(path / ONNX) in str(refusal.value)


def test_graphs_in_attributes_and_functions_are_refused(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(linear())
    inner = helper.make_attribute("body", model.graph)
    model.graph.node[0].attribute.append(inner)
    with pytest.raises(ValueError, match="holds a graph"):
        OnnxForest(model.SerializeToString(), (10, 2), 3)


def test_another_shape_or_hash(tmp_path: Path) -> None:
    path = make_forest(tmp_path / "a")
    change_config(path, labels=["benign", "bot"], malicious=["bot"])
    with pytest.raises(BundleError, match="3] for 2 inputs and 2 labels"):
        load_bundle(path)
    (path / ONNX).write_bytes(linear() + b"\0")
    with pytest.raises(BundleError, match="SHA-256 is"):
        load_bundle(path)


def test_without_onnxruntime_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_forest(tmp_path / "a")
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(BundleError, match=r"pip install onnx onnxruntime"):
        load_bundle(path)
