"""`FlowBatch` and the packed sample: literal values, exact round trips."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtc_sensor.flow import (
    MAX_OFFSET_US,
    FlowBatch,
    Kind,
    pack_samples,
    take_ragged,
    unpack_samples,
)

PACKETS = st.lists(
    st.tuples(
        st.integers(0, MAX_OFFSET_US),
        st.booleans(),
        st.integers(0, 65535),
        st.integers(0, 65535),
    )
)


def batch(packets: list[int], heads: list[int]) -> FlowBatch:
    """A batch whose row i has packets[i] samples and heads[i] heads; all values differ."""
    n, m, k = len(packets), sum(packets), sum(heads)
    return FlowBatch(
        uid=np.array([f"C{i}" for i in range(n)], "S24"),
        kind=np.full(n, Kind.FINAL, np.uint8),
        proto=np.full(n, 6, np.uint8),
        orig_h=np.arange(n * 16, dtype=np.uint8).reshape(n, 16),
        resp_h=np.arange(n * 16, dtype=np.uint8).reshape(n, 16)[::-1],
        orig_p=np.arange(n, dtype=np.uint16),
        resp_p=np.arange(n, dtype=np.uint16) + 1000,
        start_us=np.arange(n, dtype=np.int64) * 1_000_000,
        samples=pack_samples(np.arange(m), np.arange(m) % 2, np.full(m, 60), np.zeros(m)),
        sample_offsets=np.append(0, np.cumsum(packets)).astype(np.int64),
        head=np.arange(k * 4, dtype=np.uint8).reshape(k, 4),
        head_len=np.arange(k, dtype=np.uint16),
        head_l4=np.arange(k, dtype=np.uint16) + 20,
        head_offsets=np.append(0, np.cumsum(heads)).astype(np.int64),
        tokens=np.frombuffer(b"".join(b"word:%d " % i for i in range(n)), np.uint8),
        token_offsets=np.arange(n + 1) * 7,
    )


def same(a: FlowBatch, b: FlowBatch) -> bool:
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(FlowBatch))


def test_a_sample_is_laid_out_as_documented() -> None:
    packed = pack_samples(3, True, 0x0102, 0x0304)
    assert int(packed) == (3 << 33) | (1 << 32) | (0x0102 << 16) | 0x0304


@given(PACKETS)
def test_samples_round_trip(packets: list[tuple[int, bool, int, int]]) -> None:
    columns = [np.array(column) for column in zip(*packets, strict=True)] or [np.empty(0)] * 4
    unpacked = unpack_samples(pack_samples(*columns))
    for before, after in zip(columns, unpacked, strict=True):
        np.testing.assert_array_equal(before, after)


def test_samples_saturate() -> None:
    packed = pack_samples([1 << 40, -5], [False, True], [70_000, -1], [65_536, 0])
    unpacked = unpack_samples(packed)
    assert unpacked.offset_us.tolist() == [MAX_OFFSET_US, 0]
    assert unpacked.responder.tolist() == [False, True]
    assert unpacked.ip_len.tolist() == [65_535, 0]
    assert unpacked.payload.tolist() == [65_535, 0]


def test_take_and_concat_are_inverse() -> None:
    whole = batch([2, 0, 3, 1], [1, 2, 0, 3])
    parts = [whole.take([i]) for i in range(4)]
    assert same(FlowBatch.concat(parts), whole)
    assert [len(part.samples) for part in parts] == [2, 0, 3, 1]
    assert [len(part.head) for part in parts] == [1, 2, 0, 3]


def test_take_keeps_the_order_that_is_asked_for() -> None:
    whole = batch([2, 0, 3, 1], [1, 2, 0, 3])
    taken = whole.take([3, 0])
    assert taken.uid.tolist() == [b"C3", b"C0"]
    assert taken.samples.tolist() == [*whole.samples[5:].tolist(), *whole.samples[:2].tolist()]
    assert taken.head_offsets.tolist() == [0, 3, 4]


def test_take_accepts_a_mask() -> None:
    whole = batch([2, 0, 3], [0, 0, 0])
    assert whole.take(whole.packets > 0).uid.tolist() == [b"C0", b"C2"]
    assert len(whole.take(np.zeros(3, np.bool_))) == 0


def test_empty_joins_with_others() -> None:
    whole = batch([1, 2], [1, 1])
    assert same(FlowBatch.concat([FlowBatch.empty(4), whole, FlowBatch.empty(4)]), whole)


def test_nothing_cannot_be_joined() -> None:
    with pytest.raises(ValueError, match="nothing to join"):
        FlowBatch.concat([])


def test_rows_of_samples_and_last_times() -> None:
    whole = batch([2, 0, 3], [0, 1, 2])
    assert whole.sample_rows().tolist() == [0, 0, 2, 2, 2]
    assert whole.head_rows().tolist() == [1, 2, 2]
    assert whole.last_us().tolist() == [1, 1_000_000, 2_000_004]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.data())
def test_take_ragged_agrees_with_slices(lengths: list[int], draw: st.DataObject) -> None:
    offsets = np.append(0, np.cumsum(lengths)).astype(np.int64)
    rows = np.array(draw.draw(st.lists(st.integers(0, len(lengths) - 1))), np.int64)
    positions, taken = take_ragged(offsets, rows)
    expected = [p for row in rows for p in range(offsets[row], offsets[row + 1])]
    assert positions.tolist() == expected
    assert np.diff(taken).tolist() == [lengths[row] for row in rows]


def test_token_documents_are_text() -> None:
    flows = batch([1, 1, 1], [0, 0, 0]).with_documents(["tls:303 cipher:1301", "", "caf\u00e9"])
    assert flows.documents() == ["tls:303 cipher:1301", "", "caf?"]
    assert flows.take([2, 0]).documents() == ["caf?", "tls:303 cipher:1301"]
