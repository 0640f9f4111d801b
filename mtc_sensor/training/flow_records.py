"""Flow records from what data sets tell of flows, as `capture` would make them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.flow import FlowBatch, Kind, pack_samples
from mtc_sensor.wire.values import map_address

Part: TypeAlias = tuple[FlowBatch, NDArray[np.str_] | None]
"""Records, and (n,) their labels where the file itself has them."""


class Packets(NamedTuple):
    """Packets of flows, flow by flow and in order; ``m`` of them."""

    flow: NDArray[np.int64]
    """(m,) number of the flow, from 0 on."""
    time_us: NDArray[np.int64]
    """(m,) microseconds since the flow's first packet."""
    responder: NDArray[np.bool_]
    """(m,) sent by the responder."""
    ip_len: NDArray[np.int64]
    """(m,) bytes from the IP header on."""
    payload: NDArray[np.int64]
    """(m,) bytes."""

    def take(self, rows: NDArray[Any]) -> Packets:
        """Return the packets that `rows` (indices or a boolean mask) names."""
        return Packets(
            self.flow[rows], self.time_us[rows], self.responder[rows],
            self.ip_len[rows], self.payload[rows],
        )  # fmt: skip


class Ends(NamedTuple):
    """Whose flows they are; ``f`` of them."""

    proto: NDArray[np.uint8]
    orig_h: NDArray[np.uint8]
    """(f, 16)"""
    orig_p: NDArray[np.uint16]
    resp_h: NDArray[np.uint8]
    """(f, 16)"""
    resp_p: NDArray[np.uint16]
    start_us: NDArray[np.int64]
    """(f,) time of the first packet."""

    @classmethod
    def unknown(cls, flows: int, start_us: NDArray[np.int64] | None = None) -> Ends:
        """Make those of flows whose source tells nothing of them."""
        ports, hosts = np.zeros(flows, np.uint16), np.zeros((flows, 16), np.uint8)
        start = np.zeros(flows, np.int64) if start_us is None else start_us
        return cls(np.zeros(flows, np.uint8), hosts, ports, hosts, ports, start)

    @classmethod
    def of(cls, rows: list[tuple[int, str, int, str, int, int]]) -> Ends:
        """Make them of a row for each flow: what the columns are called, with text addresses."""
        proto, orig_h, orig_p, resp_h, resp_p, start = zip(*rows, strict=True)
        return cls(
            np.array(proto, np.uint8), _addresses(orig_h), np.array(orig_p, np.uint16),
            _addresses(resp_h), np.array(resp_p, np.uint16), np.array(start, np.int64),
        )  # fmt: skip


def records(packets: Packets, ends: Ends, settings: FlowSettings) -> FlowBatch:
    """Cut flows into blocks as `capture` does; every block is a `Kind.FINAL` record.

    Flows with fewer than `min_packets` give none.
    """
    enough = np.bincount(packets.flow, minlength=1) >= settings.min_packets
    packets = packets.take(enough[packets.flow])
    block = packets.time_us // round(settings.block_s * 1e6)
    key = packets.flow * (int(block.max(initial=0)) + 1) + block
    _, first, record, sizes = np.unique(
        key, return_index=True, return_inverse=True, return_counts=True
    )
    kept = np.arange(len(key)) - first[record] < settings.max_samples
    begin = packets.time_us[first]
    samples = pack_samples(
        packets.time_us - begin[record], packets.responder, packets.ip_len, packets.payload
    )[kept]
    sizes = np.minimum(sizes, settings.max_samples)
    return _batch(samples, sizes, packets.flow[first], begin, ends, settings)


def _batch(
    samples: NDArray[np.uint64],
    sizes: NDArray[np.int64],
    flow: NDArray[np.int64],
    begin: NDArray[np.int64],
    ends: Ends,
    settings: FlowSettings,
) -> FlowBatch:
    count = len(sizes)
    return FlowBatch(
        uid=np.char.add(b"F", flow.astype("S23")).astype("S24"),
        kind=np.full(count, Kind.FINAL, np.uint8),
        proto=ends.proto[flow],
        orig_h=ends.orig_h[flow],
        resp_h=ends.resp_h[flow],
        orig_p=ends.orig_p[flow],
        resp_p=ends.resp_p[flow],
        start_us=ends.start_us[flow] + begin,
        samples=samples,
        sample_offsets=np.concatenate(([0], np.cumsum(sizes))).astype(np.int64),
        head=np.empty((0, settings.head_bytes), np.uint8),
        head_len=np.empty(0, np.uint16),
        head_l4=np.empty(0, np.uint16),
        head_offsets=np.zeros(count + 1, np.int64),
        tokens=np.empty(0, np.uint8),
        token_offsets=np.zeros(count + 1, np.int64),
    )


def described(ends: Ends, documents: Sequence[str], settings: FlowSettings) -> FlowBatch:
    """Return a record without packets for each document."""
    count = len(documents)
    nothing = np.zeros(count, np.int64)
    batch = _batch(np.empty(0, np.uint64), nothing, np.arange(count), nothing, ends, settings)
    return batch.with_documents(documents)


def _addresses(texts: Iterable[str]) -> NDArray[np.uint8]:
    raw = [map_address(ip_address(text)) for text in texts]
    return np.frombuffer(b"".join(raw), np.uint8).reshape(-1, 16)
