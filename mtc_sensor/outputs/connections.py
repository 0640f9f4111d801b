"""Whole connections out of their records: what `mtc-sensor flows` writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.flow import FlowBatch, Kind, unpack_samples


@dataclass(frozen=True, eq=False)
class Connections:
    """Connections as columns: ``n`` rows, ``m`` packets."""

    last: FlowBatch
    """(n,) the final record of each connection: uid, addresses, ports."""
    start_us: NDArray[np.int64]
    """(n,) time of the first packet, microseconds since the epoch."""
    time_us: NDArray[np.int64]
    """(m,) microseconds since the epoch."""
    responder: NDArray[np.bool_]
    """(m,) sent by the responder."""
    ip_len: NDArray[np.uint16]
    """(m,) IP total length, bytes."""
    payload: NDArray[np.uint16]
    """(m,) transport payload, bytes."""
    offsets: NDArray[np.int64]
    """(n + 1,) where each connection's packets begin."""

    def __len__(self) -> int:
        return len(self.start_us)

    def rows(self) -> NDArray[np.int64]:
        """(m,) the connection that each packet belongs to."""
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.offsets))


def connections(records: Iterable[FlowBatch]) -> Iterator[Connections]:
    """Join the block and final records of each connection; early ones repeat them and are dropped.

    Connections come out when their final record has come. Until then their blocks are held: memory
    grows with the packets of long connections that are under way.
    """
    held: FlowBatch | None = None
    for batch in records:
        parts = batch.take(batch.kind != Kind.EARLY)
        known = parts if held is None else FlowBatch.concat([held, parts])
        ended = np.isin(known.uid, parts.uid[parts.kind == Kind.FINAL])
        held = None if ended.all() else known.take(~ended)
        if ended.any():
            yield _join(known.take(ended))


def _join(records: FlowBatch) -> Connections:
    """Join records of connections that have all of theirs here."""
    _, which = np.unique(records.uid, return_inverse=True)
    start = np.full(which.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(start, which, records.start_us)
    parts = records.take(order := np.lexsort((records.start_us, which, start[which])))
    begins = np.flatnonzero(np.diff(which[order], prepend=-1))
    per_connection = np.diff(begins, append=len(parts))
    last = parts.take(begins + per_connection - 1)
    samples = unpack_samples(parts.samples)
    return Connections(
        last=last,
        start_us=parts.start_us[begins],
        time_us=samples.offset_us + np.repeat(parts.start_us, parts.packets),
        responder=samples.responder
        ^ np.repeat(_flipped(parts, last, per_connection), parts.packets),
        ip_len=samples.ip_len,
        payload=samples.payload,
        offsets=np.append(parts.sample_offsets[begins], parts.sample_offsets[-1]),
    )


def _flipped(
    parts: FlowBatch, last: FlowBatch, per_connection: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether a record was made before its connection changed its direction."""
    same_port = parts.orig_p == np.repeat(last.orig_p, per_connection)
    same_host = (parts.orig_h == np.repeat(last.orig_h, per_connection, axis=0)).all(axis=1)
    same: NDArray[np.bool_] = same_port & same_host
    return ~same
