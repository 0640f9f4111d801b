import copy
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mtc_sensor import inference
from mtc_sensor.errors import BundleError
from mtc_sensor.features.byte_matrix import byte_matrix
from mtc_sensor.features.flowpic import flowpics
from mtc_sensor.features.spec import ByteMatrixSpec, FlowPicSpec
from mtc_sensor.flow import FlowBatch, Kind, pack_samples
from mtc_sensor.inference import Model, judge_records, load_models
from mtc_sensor.models.bundle import load_bundle
from mtc_sensor.models.device import one_ahead
from mtc_sensor.models.novelty import described

from .models.bundles import change_config, make_bundle


def records(count: int = 40, seed: int = 1) -> FlowBatch:
    """Records of all kinds with 1 to 9 packets; early ones, and finals of up to 7, have heads."""
    rng = np.random.default_rng(seed)
    packets = np.arange(count) % 9 + 1
    kind = np.where(packets == 8, Kind.EARLY, np.where(packets == 9, Kind.BLOCK, Kind.FINAL))
    heads = np.where(kind == Kind.BLOCK, 0, packets)
    total, head_total = int(packets.sum()), int(heads.sum())
    return FlowBatch(
        uid=np.array([f"C{i}" for i in range(count)], "S24"),
        kind=kind.astype(np.uint8),
        proto=np.full(count, 6, np.uint8),
        orig_h=np.zeros((count, 16), np.uint8),
        resp_h=np.zeros((count, 16), np.uint8),
        orig_p=np.full(count, 40_000, np.uint16),
        resp_p=np.full(count, 80, np.uint16),
        start_us=np.zeros(count, np.int64),
        samples=pack_samples(
            rng.integers(0, 150_000_000, total), rng.random(total) < 0.5,
            rng.integers(40, 1490, total), rng.integers(0, 1400, total),
        ),
        sample_offsets=np.concatenate(([0], np.cumsum(packets))),
        head=rng.integers(0, 256, (head_total, 80), np.uint8),
        head_len=np.full(head_total, 80, np.uint16),
        head_l4=np.full(head_total, 20, np.uint16),
        head_offsets=np.concatenate(([0], np.cumsum(heads))),
        tokens=np.empty(0, np.uint8),
        token_offsets=np.zeros(count + 1, np.int64),
    )  # fmt: skip


@pytest.fixture(scope="module")
def byte_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(load_bundle(make_bundle(tmp_path_factory.mktemp("m") / "byte")), "cpu")


@pytest.fixture(scope="module")
def flowpic_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(load_bundle(make_bundle(tmp_path_factory.mktemp("m") / "pic", "flowpic")), "cpu")


def test_a_byte_model_judges_its_kinds_with_enough_packets_and_heads(byte_model: Model) -> None:
    batch = records()
    expected = [i for i in range(40) if 4 <= i % 9 + 1 <= 8]
    assert byte_model.rows(batch).tolist() == expected
    headless = replace(batch, head_offsets=np.zeros(41, np.int64))
    assert byte_model.rows(headless).tolist() == []


def test_a_flowpic_model_needs_no_heads(flowpic_model: Model) -> None:
    headless = replace(records(), head_offsets=np.zeros(41, np.int64))
    assert flowpic_model.rows(headless).tolist() == [i for i in range(40) if 4 <= i % 9 + 1 <= 8]


def test_byte_probabilities_are_the_bundles_own(byte_model: Model) -> None:
    batch = records()
    spec = byte_model.bundle.spec
    assert isinstance(spec, ByteMatrixSpec)
    with torch.inference_mode():
        direct = byte_model.bundle.probabilities(torch.from_numpy(byte_matrix(batch, spec)))
    predicted = byte_model.predict(batch)
    assert predicted.dtype == np.float32
    np.testing.assert_allclose(predicted, direct.numpy(), atol=1e-6)
    np.testing.assert_allclose(predicted.sum(1), 1, atol=1e-5)


def test_pictures_of_a_record_are_averaged(flowpic_model: Model) -> None:
    batch = records()
    spec = flowpic_model.bundle.spec
    assert isinstance(spec, FlowPicSpec)
    drawn = flowpics(batch, spec)
    assert len(drawn.rows) > len(batch)  # records of 150 s have up to three pictures of 60 s
    with torch.inference_mode():
        images = torch.from_numpy(drawn.images.astype(np.int64))
        each = flowpic_model.bundle.probabilities(images).numpy()
    expected = [each[drawn.rows == row].mean(0) for row in range(len(batch))]
    np.testing.assert_allclose(flowpic_model.predict(batch), expected, atol=1e-6)


@pytest.mark.parametrize("values", [1, 640, 3 * 2 * 32 * 32])
def test_batches_do_not_change_the_result(
    byte_model: Model, flowpic_model: Model, monkeypatch: pytest.MonkeyPatch, values: int
) -> None:
    batch = records(20)
    whole = [model.predict(batch) for model in (byte_model, flowpic_model)]
    monkeypatch.setitem(inference.BATCH_VALUES, "cpu", values)
    for model, expected in zip((byte_model, flowpic_model), whole, strict=True):
        np.testing.assert_allclose(model.predict(batch), expected, atol=1e-6)


def test_forward_passes_are_bounded(flowpic_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(inference.BATCH_VALUES, "cpu", 5 * 2 * 32 * 32)
    sizes: list[int] = []
    network = flowpic_model.bundle.network
    hook = network.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    flowpic_model.predict(records())
    hook.remove()
    assert max(sizes) == 4  # the power of two below


LARGE = """
import resource
from pathlib import Path
from mtc_sensor.features.spec import parse_spec
from mtc_sensor.inference import Model
from mtc_sensor.models.bundle import Bundle
from mtc_sensor.models.networks import build_network
from mtc_sensor.models.schema import BundleConfig
from tests.unit.models.bundles import settings
from tests.unit.test_inference import records

config = settings("flowpic") | {"weights_sha256": "0" * 64, "reference_sha256": "0" * 64}
config["network"] = {"name": "flowpic-lenet", "args": {}}
config["input"] |= {"resolution": 800, "direction": False}
spec = parse_spec(config["input"])
network = build_network("flowpic-lenet", spec.shape, 3, {}).eval()
model = Model(Bundle(Path("large"), BundleConfig.model_validate(config), spec, network), "cpu")
peaks = []
for count in (3, 60):
    model.features(records(count))
    model.outputs(records(count))
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(peaks[1] - peaks[0])
"""
"""Prints how many kB more 137 pictures take than the first few."""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_large_pictures() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", LARGE], cwd=root, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 60_000


def test_a_record_without_a_picture_has_no_probabilities(flowpic_model: Model) -> None:
    batch = records(3)
    large = replace(batch, samples=pack_samples([0] * 6, [False] * 6, [1500] * 6, [0] * 6))
    assert np.isnan(flowpic_model.predict(large)).all()
    verdicts = judge_records([flowpic_model], replace(large, kind=np.full(3, 2, np.uint8)))
    assert len(verdicts) == 0  # fewer than min_packets


@pytest.mark.parametrize("kind", ["byte_model", "flowpic_model"])
def test_nothing_in_nothing_out(kind: str, request: pytest.FixtureRequest) -> None:
    model: Model = request.getfixturevalue(kind)
    assert model.predict(FlowBatch.empty()).shape == (0, 3)
    assert len(judge_records([model], FlowBatch.empty())) == 0


def test_every_model_is_asked(byte_model: Model, flowpic_model: Model) -> None:
    verdicts = judge_records([byte_model, flowpic_model], records())
    asked = len(byte_model.rows(records()))
    assert len(verdicts) == 2 * asked
    assert set(verdicts.label) <= {"benign", "bot", "worm", "unknown"}


@pytest.mark.parametrize("count", [0, 1, 3])
def test_one_is_made_ahead_of_what_is_looked_at(count: int) -> None:
    made = list[int]()

    def making() -> Iterator[int]:
        for number in range(count):
            made.append(number)
            yield number

    looked_at = list[int]()
    for item in one_ahead(making()):
        looked_at.append(item)
        assert len(made) == min(item + 2, count)
    assert looked_at == list(range(count))


@pytest.mark.parametrize("threads", [1, 2])
def test_torch_has_as_many_threads_as_is_said(tmp_path: Path, threads: int) -> None:
    before = torch.get_num_threads()
    try:
        load_models([str(make_bundle(tmp_path / "a"))], "cpu", threads)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_two_models_of_one_name(tmp_path: Path) -> None:
    path = str(make_bundle(tmp_path / "a"))
    assert [model.name for model in load_models([path], "cpu")] == ["small"]
    with pytest.raises(BundleError, match="each once"):
        load_models([path, path], "cpu")
    with pytest.raises(BundleError, match="at least one"):
        load_models([], "cpu")


def test_the_temperature_of_the_bundle_counts(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "a")
    warm = Model(load_bundle(path), "cpu").predict(records())
    change_config(path, temperature=100.0)
    hot = Model(load_bundle(path), "cpu").predict(records())
    assert (hot.max(1) < warm.max(1)).all()


def test_served_models_compute_what_the_bundles_networks_do(tmp_path: Path) -> None:
    paths = [make_bundle(tmp_path / kind, kind) for kind in ("byte_matrix", "flowpic")]
    for path in paths:
        (served,) = load_models([str(path)], "cpu")
        plain = Model(load_bundle(path), "cpu")
        np.testing.assert_allclose(served.predict(records()), plain.predict(records()), atol=1e-5)


def test_a_network_that_got_worse_by_being_made_faster_is_served_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(network: nn.Module) -> nn.Module:
        changed = copy.deepcopy(network)
        layer = described(changed)
        assert layer is not None
        layer.bias.data += torch.arange(3.0)
        return changed

    monkeypatch.setattr(inference, "prepared", spoil)
    path = make_bundle(tmp_path / "a")
    (served,) = load_models([str(path)], "cpu")
    plain = Model(load_bundle(path), "cpu")
    np.testing.assert_array_equal(served.predict(records()), plain.predict(records()))


def test_a_bundle_whose_reference_is_not_computed_is_refused(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "a")
    change_config(path, temperature=3.0)
    with pytest.raises(
        BundleError, match=r"probabilities differ by .* on cpu: this machine's torch"
    ):
        load_models([str(path)], "cpu")


def test_devices(tmp_path: Path) -> None:
    bundle = load_bundle(make_bundle(tmp_path / "a"))
    with pytest.raises(BundleError, match="'tpu' is not one of auto, cpu, cuda, cuda:N"):
        Model(bundle, "tpu")
    if not torch.cuda.is_available():
        assert Model(bundle, "auto").device.type == "cpu"
        for name in ("cuda", "cuda:1"):
            with pytest.raises(BundleError, match="no CUDA device"):
                Model(bundle, name)
