"""Flow batches written by hand: packets and heads in, a `FlowBatch` out."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mtc_sensor.flow import FlowBatch, Kind, pack_samples


class Head(NamedTuple):
    """The first bytes of a packet, and where its transport header begins."""

    data: bytes
    l4: int = 0


def batch_of(
    samples: Sequence[ArrayLike] = (),
    heads: Sequence[Sequence[Head]] = (),
    proto: int | Sequence[int] = 6,
    width: int = 80,
) -> FlowBatch:
    """Make a record for each entry of `samples` (packed) or `heads`; the rest is zero."""
    n = max(len(samples), len(heads))
    packets = [np.asarray(s, np.uint64) for s in samples] or [np.empty(0, np.uint64)] * n
    rows = list(heads) or [[]] * n
    flat = [head for row in rows for head in row]
    padded = b"".join(head.data[:width].ljust(width, b"\0") for head in flat)
    return FlowBatch(
        uid=np.array([f"C{i}" for i in range(n)], "S24"),
        kind=np.full(n, Kind.FINAL, np.uint8),
        proto=np.broadcast_to(np.asarray(proto, np.uint8), n).copy(),
        orig_h=np.zeros((n, 16), np.uint8),
        resp_h=np.zeros((n, 16), np.uint8),
        orig_p=np.zeros(n, np.uint16),
        resp_p=np.zeros(n, np.uint16),
        start_us=np.zeros(n, np.int64),
        samples=np.concatenate([np.empty(0, np.uint64), *packets]),
        sample_offsets=_offsets([len(p) for p in packets]),
        head=np.frombuffer(padded, np.uint8).reshape(-1, width).copy(),
        head_len=np.array([min(len(head.data), width) for head in flat], np.uint16),
        head_l4=np.array([head.l4 for head in flat], np.uint16),
        head_offsets=_offsets([len(row) for row in rows]),
        tokens=np.empty(0, np.uint8),
        token_offsets=np.zeros(len(rows) + 1, np.int64),
    )


def packets(
    seconds: ArrayLike, ip_len: ArrayLike, responder: ArrayLike = 0, payload: ArrayLike = 0
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
    """Pack packets that arrived `seconds` after the first."""
    offset = np.round(np.asarray(seconds, np.float64) * 1e6).astype(np.int64)
    return pack_samples(*np.broadcast_arrays(offset, responder, ip_len, payload))


def _offsets(lengths: Sequence[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
