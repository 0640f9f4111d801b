"""FlowPics of packets placed by hand, and against NumPy's own histogram."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mtc_sensor.features.flowpic import MAX_COUNT, FlowPicBuilder, flowpic_indices, flowpics
from mtc_sensor.features.spec import FlowPicSpec
from mtc_sensor.flow import FlowBatch, pack_samples, unpack_samples
from tests.unit.features.build import batch_of, packets

ONE = FlowPicSpec(resolution=4, window_s=1.0, direction=False, max_size=1000)


def cells(image: NDArray[np.uint16]) -> dict[tuple[int, ...], int]:
    """Return the cells of a picture that are not empty."""
    return {tuple(at.tolist()): int(image[tuple(at)]) for at in np.argwhere(image)}


def test_columns_are_times_and_rows_are_sizes() -> None:
    pics = flowpics(batch_of([packets([0, 0.26, 0.999999, 0.999], [40, 250, 999, 750])]), ONE)
    assert pics.images.shape == (1, 1, 4, 4)
    assert pics.images.dtype == np.uint16
    assert cells(pics.images[0]) == {(0, 0, 0): 1, (0, 1, 1): 1, (0, 3, 3): 2}


@pytest.mark.parametrize(
    ("size", "kept"), [(0, True), (999, True), (1000, False), (1001, False), (65535, False)]
)
def test_sizes_from_max_size_on_are_left_out(size: int, kept: bool) -> None:
    assert len(flowpics(batch_of([packets([0.5], [size])]), ONE).rows) == kept


def test_windows_count_from_the_records_first_packet_and_empty_ones_give_none() -> None:
    first = packets([0, 0.999999, 1.0, 3.5, 3.6, 4.0], [40, 40, 40, 40, 40, 1500])
    batch = batch_of([first, [], packets([7], [1500]), packets([2.25], [500])])
    pics = flowpics(batch, ONE)
    assert pics.rows.tolist() == [0, 0, 0, 3]
    assert pics.window.tolist() == [0, 1, 3, 2]
    assert [cells(image) for image in pics.images] == [
        {(0, 0, 0): 1, (0, 0, 3): 1},
        {(0, 0, 0): 1},
        {(0, 0, 2): 2},
        {(0, 2, 1): 1},
    ]


def test_packets_out_of_order_land_where_they_belong() -> None:
    pics = flowpics(batch_of([packets([2.5, 0, 2.0, 0.5], [40, 40, 999, 999])]), ONE)
    assert pics.window.tolist() == [0, 2]
    assert [cells(image) for image in pics.images] == [
        {(0, 0, 0): 1, (0, 3, 2): 1},
        {(0, 0, 2): 1, (0, 3, 0): 1},
    ]


def test_originator_and_responder_have_a_channel_each() -> None:
    batch = batch_of([packets([0, 0, 0.5], [40, 40, 40], [0, 1, 1])])
    both = flowpics(batch, ONE.model_copy(update={"direction": True}))
    assert cells(both.images[0]) == {(0, 0, 0): 1, (1, 0, 0): 1, (1, 0, 2): 1}
    assert cells(flowpics(batch, ONE).images[0]) == {(0, 0, 0): 2, (0, 0, 2): 1}


def test_payload_sizes_leave_out_packets_without_payload() -> None:
    batch = batch_of([packets([0, 0, 0.5], [40, 540, 1500], payload=[0, 500, 999])])
    spec = ONE.model_copy(update={"size": "payload"})
    assert cells(flowpics(batch, spec).images[0]) == {(0, 2, 0): 1, (0, 3, 2): 1}


def test_counts_saturate() -> None:
    many = np.full(MAX_COUNT + 10, packets([0.5], [500])[0])
    assert cells(flowpics(batch_of([many]), ONE).images[0]) == {(0, 2, 2): MAX_COUNT}


def test_offsets_saturate_into_one_last_window() -> None:
    late = pack_samples([1 << 40, 1 << 31], 0, 40, 0)
    pics = flowpics(batch_of([late]), FlowPicSpec(window_s=0.1, resolution=2))
    assert pics.window.tolist() == [21474]


@pytest.mark.parametrize("direction", [False, True])
def test_a_batch_without_packets_has_no_pictures(direction: bool) -> None:
    spec = FlowPicSpec(direction=direction)
    for batch in (FlowBatch.empty(), batch_of([[], []])):
        assert flowpics(batch, spec).images.shape == (0, *spec.shape)


flows = st.lists(
    st.lists(
        st.tuples(
            st.integers(0, 150_000_000) | st.integers(0, 100).map(lambda at: at * 1_000_000),
            st.booleans(),
            st.integers(0, 1600),
            st.integers(0, 1600),
        ),
        max_size=40,
    ).map(lambda rows: pack_samples(*np.array(rows, np.int64).reshape(-1, 4).T)),
    min_size=1,
    max_size=6,
).map(batch_of)
specs = st.builds(
    FlowPicSpec,
    resolution=st.integers(1, 100),
    window_s=st.floats(0.5, 100),
    direction=st.booleans(),
    size=st.sampled_from(("ip", "payload")),
    max_size=st.integers(100, 2000),
)


@settings(deadline=None)
@given(flows, specs)
def test_each_packet_is_counted_where_the_definition_says(
    batch: FlowBatch, spec: FlowPicSpec
) -> None:
    expected: Counter[tuple[int, ...]] = Counter()
    samples = unpack_samples(batch.samples)
    for row, time, responder, ip, payload in zip(
        batch.sample_rows().tolist(), *(column.tolist() for column in samples), strict=True
    ):
        size = ip if spec.size == "ip" else payload
        if size < spec.max_size and (size > 0 or spec.size == "ip"):
            window, within = divmod(time, spec.window_us)
            channel = int(responder and spec.direction)
            y = size * spec.resolution // spec.max_size
            expected[row, window, channel, y, within * spec.resolution // spec.window_us] += 1
    pics = flowpics(batch, spec)
    found = {
        (int(row), int(window), *cell): count
        for image, row, window in zip(*pics, strict=True)
        for cell, count in cells(image).items()
    }
    assert found == expected
    assert all(image.any() for image in pics.images)
    order = list(zip(pics.rows.tolist(), pics.window.tolist(), strict=True))
    assert order == sorted(set(order))


@settings(deadline=None, max_examples=20)
@given(flows, st.sampled_from([32, 64, 256, 1500]), st.sampled_from([10.0, 15.0, 60.0]))
def test_pictures_are_numpys_histograms(batch: FlowBatch, resolution: int, window_s: float) -> None:
    spec = FlowPicSpec(resolution=resolution, window_s=window_s, direction=True)
    pics = flowpics(batch, spec)
    row = batch.sample_rows()
    time, responder, size, _ = unpack_samples(batch.samples)
    edges = np.linspace(0, 1500, resolution + 1), np.linspace(0, window_s * 1e6, resolution + 1)
    for image, record, window in zip(*pics, strict=True):
        own = (row == record) & (time // spec.window_us == window) & (size < 1500)
        for channel in (0, 1):
            one = own & (responder == channel)
            expected = np.histogram2d(size[one], time[one] % spec.window_us, bins=list(edges))[0]
            assert np.array_equal(image[channel], expected)


@settings(deadline=None)
@given(flows, specs)
def test_indices_give_the_same_pictures_on_any_device(batch: FlowBatch, spec: FlowPicSpec) -> None:
    index = flowpic_indices(batch, spec)
    size = int(np.prod(spec.shape))
    position = torch.from_numpy(index.picture * size + index.cell)
    images = torch.bincount(position, minlength=len(index.rows) * size)
    assert np.array_equal(
        images.numpy().reshape(len(index.rows), *spec.shape), flowpics(batch, spec).images
    )
    assert (np.diff(index.picture) >= 0).all()


@settings(deadline=None)
@given(st.lists(flows, min_size=2, max_size=4), specs)
def test_a_builder_leaves_nothing_of_the_last_batch(
    batches: list[FlowBatch], spec: FlowPicSpec
) -> None:
    builder = FlowPicBuilder(spec)
    for batch in batches:
        built, fresh = builder.build(batch), flowpics(batch, spec)
        assert np.array_equal(built.images, fresh.images)
        assert np.array_equal([built.rows, built.window], [fresh.rows, fresh.window])
