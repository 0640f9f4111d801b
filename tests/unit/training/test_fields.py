"""The audit's own way of finding fields agrees with the masks, which find them otherwise."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mtc_sensor.features.byte_matrix import byte_matrix
from mtc_sensor.features.spec import MASKS, ByteMatrixSpec, Mask
from mtc_sensor.flow import FlowBatch
from mtc_sensor.inference import Model
from mtc_sensor.models.bundle import bundle_path, load_bundle
from mtc_sensor.training import fields
from mtc_sensor.training.made_up import made_up


@pytest.fixture(scope="module")
def flows() -> FlowBatch:
    return made_up(Model(load_bundle(bundle_path("byte-cnn")), "cpu")).flows


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


@pytest.mark.parametrize("mask", MASKS)
def test_what_a_mask_hides_is_what_its_field_exchanges(mask: Mask, flows: FlowBatch) -> None:
    find = fields.MASKED[mask]
    open_ = byte_matrix(flows, ByteMatrixSpec(masks=()))
    hidden = byte_matrix(flows, ByteMatrixSpec(masks=(mask,))) != open_
    places = find(fields.locate(flows)).reshape(open_.shape)
    if mask == "ip_id":  # half of an IPv6 flow label's first byte is traffic class
        hidden[:, :, 1] = False
    assert places.any()
    assert not (hidden & ~places).any()
    assert not (places & ~hidden & (open_ != 0)).any()


def test_exchanging_keeps_everything_else(flows: FlowBatch) -> None:
    for find in (*fields.MASKED.values(), *fields.OPEN.values()):
        changed = fields.exchange(flows, find, rng())
        places = find(fields.locate(flows))
        assert (changed.head[~places] == flows.head[~places]).all()
        layout = fields.locate(changed)
        np.testing.assert_array_equal(layout.payload, fields.locate(flows).payload)


def test_what_is_exchanged_comes_from_heads_of_the_same_kind(flows: FlowBatch) -> None:
    find = fields.OPEN["payload 0-3"]
    places = find(fields.locate(flows))
    before = _words(flows.head, places)
    after = _words(fields.exchange(flows, find, rng()).head, places)
    assert sorted(before) == sorted(after)
    assert before != after


def _words(head: NDArray[np.uint8], places: NDArray[np.bool_]) -> list[bytes]:
    rows = np.flatnonzero(places.sum(axis=1) == 4)
    return [head[row][places[row]].tobytes() for row in rows.tolist()]


def test_sizes_directions_and_times_are_only_moved_about(flows: FlowBatch) -> None:
    low = np.uint64((1 << 32) - 1)
    for change in (fields.exchange_sizes, fields.exchange_directions, fields.exchange_times):
        changed = change(flows, rng())
        assert (changed.samples != flows.samples).any()
        assert len(changed.samples) == len(flows.samples)
    sizes = fields.exchange_sizes(flows, rng()).samples & low
    assert sorted(sizes.tolist()) == sorted((flows.samples & low).tolist())
    times = fields.exchange_times(flows, rng()).samples >> np.uint64(33)
    per_record = np.split(times, flows.sample_offsets[1:-1])
    assert all((np.diff(one.astype(np.int64)) >= 0).all() and one[0] == 0 for one in per_record)


def test_words_are_taken_out_by_prefix(flows: FlowBatch) -> None:
    assert "port" in fields.word_prefixes(flows)
    assert "port" not in fields.word_prefixes(fields.without_words(flows, "port"))


def test_a_packet_is_emptied(flows: FlowBatch) -> None:
    matrix = byte_matrix(fields.without_packet(flows, 2), ByteMatrixSpec())
    assert not matrix[:, 2].any()
    assert matrix[:, 1].any()


def test_no_heads_no_harm() -> None:
    empty = FlowBatch.empty()
    for find in (*fields.MASKED.values(), *fields.OPEN.values()):
        assert len(fields.exchange(empty, find, rng()).head) == 0
    assert len(fields.exchange_times(empty, rng()).samples) == 0
