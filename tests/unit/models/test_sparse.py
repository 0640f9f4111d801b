"""The first stage over sparse pictures gives what the dense layers give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mtc_sensor.features.spec import FlowPicSpec
from mtc_sensor.flow import FlowBatch, Kind, pack_samples
from mtc_sensor.models.flowpic import FlowPicLeNet
from mtc_sensor.models.inputs import Pictures, inputs_of
from mtc_sensor.models.serving import prepared
from mtc_sensor.models.sparse import convolved_and_pooled, counted


@settings(max_examples=60)
@given(st.data())
def test_any_cells_give_what_dense_layers_give(data: st.DataObject) -> None:
    channels, height, width = (data.draw(st.integers(1, most)) for most in (2, 70, 70))
    kernel, stride, padding = data.draw(st.sampled_from([(10, 5, 3), (5, 1, 0), (4, 3, 2)]))
    if min(height, width) + 2 * padding < kernel + stride:
        return
    torch.manual_seed(data.draw(st.integers(0, 9)))
    layer = nn.Conv2d(channels, 3, kernel, stride, padding)
    shape, pictures = (channels, height, width), 3
    cells = st.integers(0, pictures * channels * height * width - 1)
    position = torch.tensor(data.draw(st.lists(cells, max_size=50)), dtype=torch.int64)
    flat = torch.bincount(position, minlength=pictures * channels * height * width)
    dense = torch.log1p(flat.view(pictures, *shape).float())
    with torch.no_grad():
        expected = nn.functional.max_pool2d(torch.relu(layer(dense)), 2)
        found = convolved_and_pooled(counted(position, pictures, shape), layer)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def records(count: int) -> FlowBatch:
    rng = np.random.default_rng(1)
    packets = 60
    samples = [
        pack_samples(
            np.sort(rng.integers(0, 40_000_000, packets)), rng.random(packets) < 0.5,
            rng.integers(40, 1501, packets), rng.integers(0, 1460, packets),
        )
        for _ in range(count)
    ]  # fmt: skip
    empty = FlowBatch.empty()
    return replace(
        empty,
        uid=np.full(count, b"C1", "S24"),
        kind=np.full(count, Kind.FINAL, np.uint8),
        proto=np.full(count, 6, np.uint8),
        orig_h=np.zeros((count, 16), np.uint8),
        resp_h=np.zeros((count, 16), np.uint8),
        orig_p=np.zeros(count, np.uint16),
        resp_p=np.zeros(count, np.uint16),
        start_us=np.zeros(count, np.int64),
        samples=np.concatenate(samples),
        sample_offsets=np.arange(count + 1) * packets,
        head_offsets=np.zeros(count + 1, np.int64),
        token_offsets=np.zeros(count + 1, np.int64),
    )


@pytest.mark.parametrize("direction", [False, True])
def test_large_pictures_of_records(direction: bool) -> None:
    spec = FlowPicSpec(kind="flowpic", window_s=15, resolution=1500, direction=direction)
    built = inputs_of(records(2), spec)
    assert isinstance(built, Pictures)
    which = np.arange(len(built.rows))
    assert len(which) > 2
    network = prepared(FlowPicLeNet(spec.shape, 5).eval())
    sparse = built.sparse(which)
    assert sparse.is_sparse
    with torch.inference_mode():
        torch.testing.assert_close(sparse.to_dense(), built.take(which))
        torch.testing.assert_close(network(sparse), network(built.take(which)), atol=1e-5, rtol=0)
