"""Samples of one stream as columns: what the sensor works on between the wire and the models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import repeat
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtc_sensor.flow import join_offsets, take_ragged


class StreamId(NamedTuple):
    """Who counts: `run` is the exporting process, a new one after every restart."""

    run: str
    node: str
    shard: int


@dataclass(frozen=True, eq=False)
class Records:
    """``n`` samples of one stream; ``m`` packets, ``k`` heads, ``b`` bytes of heads."""

    stream: StreamId
    seq: NDArray[np.uint64]
    """(n,) numbers in the stream."""
    link: NDArray[np.int32]
    """(n,) LINKTYPE of the heads."""
    uid: NDArray[np.bytes_]
    """(n,) S24."""
    kind: NDArray[np.uint8]
    """(n,) a `Kind`."""
    proto: NDArray[np.uint8]
    """(n,) IP protocol number."""
    orig_h: NDArray[np.uint8]
    """(n, 16) as in `FlowBatch`."""
    resp_h: NDArray[np.uint8]
    orig_p: NDArray[np.uint16]
    resp_p: NDArray[np.uint16]
    start_us: NDArray[np.int64]
    samples: NDArray[np.uint64]
    """(m,) packed as `mtc_sensor.flow` says; payload is what a packet added to its connection's."""
    sample_offsets: NDArray[np.int64]
    head: NDArray[np.uint8]
    """(b,) first bytes of packets as captured, from the link layer on, one after the other."""
    head_ends: NDArray[np.int64]
    """(k + 1,) 0, then where in `head` each ends."""
    head_offsets: NDArray[np.int64]
    """(n + 1,) which of the heads are a record's."""
    tokens: NDArray[np.uint8]
    token_offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.seq)

    @classmethod
    def concat(cls, parts: Sequence[Records]) -> Records:
        """Join records, at least one; the first's stream stands for all."""
        if len(parts) == 1:
            return parts[0]
        columns: dict[str, Any] = {}
        for field in fields(cls)[1:]:
            join = join_offsets if field.name in _OFFSETS else np.concatenate
            columns[field.name] = join([getattr(part, field.name) for part in parts])
        return cls(parts[0].stream, **columns)

    def identities(self, rows: ArrayLike) -> list[Identity]:
        """Return of each of some rows what verdicts on it repeat, in the order of their fields."""
        index = np.asarray(rows, np.int64)
        return list(
            zip(
                *(repeat(part, len(index)) for part in self.stream),
                self.seq[index].tolist(),
                self.uid[index].astype(np.str_).tolist(),
                self.kind[index].tolist(),
                strict=True,
            )
        )

    def take(self, rows: ArrayLike) -> Records:
        """Return the rows that `rows`, indices, names, in that order."""
        index = np.asarray(rows, np.int64)
        samples, sample_offsets = take_ragged(self.sample_offsets, index)
        heads, head_offsets = take_ragged(self.head_offsets, index)
        head, head_ends = take_ragged(self.head_ends, heads)
        tokens, token_offsets = take_ragged(self.token_offsets, index)
        return replace(
            self,
            **{name: getattr(self, name)[index] for name in _OF_ROWS},
            samples=self.samples[samples],
            sample_offsets=sample_offsets,
            head=self.head[head],
            head_ends=head_ends,
            head_offsets=head_offsets,
            tokens=self.tokens[tokens],
            token_offsets=token_offsets,
        )


Identity: TypeAlias = tuple[str, str, int, int, str, int]
"""run, node, shard, seq, uid and kind of a sample."""
_OFFSETS = ("sample_offsets", "head_ends", "head_offsets", "token_offsets")
_OF_ROWS = tuple(field.name for field in fields(Records)[1:11])
