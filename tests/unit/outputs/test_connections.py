"""Records joined to connections again."""

from __future__ import annotations

import numpy as np

from mtc_sensor.flow import FlowBatch, Kind, pack_samples
from mtc_sensor.outputs.connections import Connections, connections

A, B = bytes(15) + b"\x01", bytes(15) + b"\x02"


def record(
    uid: str, kind: Kind, start_us: int, offsets: list[int], flipped: bool = False
) -> FlowBatch:
    orig, resp = ((B, 80), (A, 1024)) if flipped else ((A, 1024), (B, 80))
    n = len(offsets)
    return FlowBatch(
        uid=np.array([uid], "S24"),
        kind=np.array([kind], np.uint8),
        proto=np.array([6], np.uint8),
        orig_h=np.frombuffer(orig[0], np.uint8).reshape(1, 16),
        resp_h=np.frombuffer(resp[0], np.uint8).reshape(1, 16),
        orig_p=np.array([orig[1]], np.uint16),
        resp_p=np.array([resp[1]], np.uint16),
        start_us=np.array([start_us], np.int64),
        samples=pack_samples(offsets, np.full(n, flipped), np.arange(n) + 40, np.arange(n)),
        sample_offsets=np.array([0, n], np.int64),
        head=np.empty((0, 80), np.uint8),
        head_len=np.empty(0, np.uint16),
        head_l4=np.empty(0, np.uint16),
        head_offsets=np.zeros(2, np.int64),
        tokens=np.empty(0, np.uint8),
        token_offsets=np.zeros(2, np.int64),
    )


def joined(*records: FlowBatch) -> list[Connections]:
    return list(connections(records))


def test_a_final_record_alone_is_a_connection() -> None:
    (only,) = joined(record("C1", Kind.FINAL, 5_000_000, [0, 7]))
    assert only.last.uid.tolist() == [b"C1"]
    assert only.start_us.tolist() == [5_000_000]
    assert only.time_us.tolist() == [5_000_000, 5_000_007]
    assert only.ip_len.tolist() == [40, 41]
    assert only.offsets.tolist() == [0, 2]


def test_blocks_of_other_batches_come_first_and_early_ones_are_dropped() -> None:
    (only,) = joined(
        record("C1", Kind.EARLY, 0, [0, 1]),
        record("C1", Kind.BLOCK, 0, [0, 1, 2]),
        record("C1", Kind.BLOCK, 70_000_000, [0]),
        record("C1", Kind.FINAL, 130_000_000, [0, 9]),
    )
    assert only.time_us.tolist() == [0, 1, 2, 70_000_000, 130_000_000, 130_000_009]
    assert only.start_us.tolist() == [0]


def test_connections_come_when_they_end_in_the_order_of_their_starts() -> None:
    both = FlowBatch.concat(
        [record("C2", Kind.FINAL, 50, [0]), record("C1", Kind.FINAL, 20, [0, 1])]
    )
    first, second = joined(
        record("C9", Kind.BLOCK, 1, [0]), both, record("C9", Kind.FINAL, 90, [0])
    )
    assert first.last.uid.tolist() == [b"C1", b"C2"]
    assert first.offsets.tolist() == [0, 2, 3]
    assert first.rows().tolist() == [0, 0, 1]
    assert second.last.uid.tolist() == [b"C9"]
    assert second.time_us.tolist() == [1, 90]


def test_a_block_from_before_a_flip_is_turned_round() -> None:
    (only,) = joined(
        record("C1", Kind.BLOCK, 0, [0, 1], flipped=True), record("C1", Kind.FINAL, 90, [0])
    )
    assert only.responder.tolist() == [False, False, False]
    assert only.last.orig_p.tolist() == [1024]


def test_what_never_ends_never_comes() -> None:
    assert joined(record("C1", Kind.BLOCK, 0, [0])) == []
