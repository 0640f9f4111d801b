"""Samples of one stream as columns: what the sensor works on between the wire and the models.

`events.Sample` says what is valid. Where Zeek's binary messages have the usual shape, `read` makes
columns of them without an object for each record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import repeat
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtc_sensor.flow import join_offsets, take_ragged
from mtc_sensor.wire._scan import MAX_HEADS, ROW, scan_records
from mtc_sensor.wire.events import Sample
from mtc_sensor.wire.values import Address, Proto, map_address

_PROTOCOLS = {
    (Proto.TCP, 4): 6,
    (Proto.TCP, 6): 6,
    (Proto.UDP, 4): 17,
    (Proto.UDP, 6): 17,
    (Proto.ICMP, 4): 1,
    (Proto.ICMP, 6): 58,
}
_LEAST_BYTES = 96
"""Of a record in Broker's binary format."""


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
    """(m,) packed as in `Sample`."""
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
    def of(cls, samples: Sequence[Sample]) -> Records:
        """Make columns of samples, at least one, of one stream."""
        heads = [head for sample in samples for head in sample.head]
        documents = [sample.tokens.encode() for sample in samples]
        return cls(
            stream=StreamId(samples[0].run, samples[0].node, samples[0].shard),
            seq=np.array([sample.seq for sample in samples], np.uint64),
            link=np.array([sample.link for sample in samples], np.int32),
            uid=np.array([sample.uid for sample in samples], "S24"),
            kind=np.array([sample.kind for sample in samples], np.uint8),
            proto=np.array([_protocol(sample) for sample in samples], np.uint8),
            orig_h=_addresses([sample.orig_h for sample in samples]),
            resp_h=_addresses([sample.resp_h for sample in samples]),
            orig_p=np.array([sample.orig_p.number for sample in samples], np.uint16),
            resp_p=np.array([sample.resp_p.number for sample in samples], np.uint16),
            start_us=np.array([sample.start_us for sample in samples], np.int64),
            samples=np.concatenate([sample.samples for sample in samples]),
            sample_offsets=_offsets([len(sample.samples) for sample in samples]),
            head=np.frombuffer(b"".join(heads), np.uint8),
            head_ends=_offsets(list(map(len, heads))),
            head_offsets=_offsets([len(sample.head) for sample in samples]),
            tokens=np.frombuffer(b"".join(documents), np.uint8),
            token_offsets=_offsets(list(map(len, documents))),
        )

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


def read(
    data: bytes, at: int, stream: StreamId, first: int, count: int, link: int
) -> Records | None:
    """Read `count` records in Broker's binary format, numbered from `first` on.

    They begin at `at` and end with the message. Returns None for what has an unusual shape or is
    not valid.
    """
    left = len(data) - at
    if count * _LEAST_BYTES > left:
        return None
    rows = np.zeros((count, ROW.itemsize), np.uint8)
    offsets = np.zeros((3, count + 1), np.int64)
    ends = np.zeros(MAX_HEADS * count + 1, np.int64)
    samples = np.empty(left // 2, np.uint64)
    text = np.empty((2, left), np.uint8)
    message = np.frombuffer(data, np.uint8)
    if scan_records(message, at, rows, offsets, ends, samples, text) != len(data):
        return None
    packets, heads, tokens = offsets[:, -1].tolist()
    columns = rows.view(ROW).ravel()
    return Records(
        stream=stream,
        seq=np.arange(first, first + count, dtype=np.uint64),
        link=np.full(count, link, np.int32),
        **{name: columns[name] for name in ROW.fields or ()},
        samples=samples[:packets].copy(),
        sample_offsets=offsets[0],
        head=text[0, : ends[heads]].copy(),
        head_ends=ends[: heads + 1],
        head_offsets=offsets[1],
        tokens=text[1, :tokens].copy(),
        token_offsets=offsets[2],
    )


def _protocol(sample: Sample) -> int:
    return _PROTOCOLS[sample.orig_p.proto, sample.orig_h.version]


def _addresses(addresses: Sequence[Address]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(map(map_address, addresses)), np.uint8).reshape(-1, 16)


def _offsets(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.cumsum([0, *lengths], dtype=np.int64)
