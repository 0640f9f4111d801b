"""Data sets of times and sizes without packets, as the flow records that `capture` would make.

Their sizes are payload sizes, or are made such: a FlowPic of these records has to use ``payload``.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.flow import FlowBatch, Kind, pack_samples

_ETHERNET, _IPV6, _UDP = 14, 40, 8


class Packets(NamedTuple):
    """Packets with payload, flow by flow and in order; ``m`` of them."""

    flow: NDArray[np.int64]
    """(m,) number of the flow."""
    time_us: NDArray[np.int64]
    """(m,) microseconds since the flow's first packet."""
    responder: NDArray[np.bool_]
    """(m,) sent by the responder."""
    payload: NDArray[np.int64]
    """(m,) bytes."""


def read_joy(path: Path) -> FlowBatch:
    """Read Cisco joy's JSON lines: up to 50 packets with payload of either direction per flow."""
    with gzip.open(path, "rt") as lines:
        flows = [flow for line in lines if (flow := json.loads(line)).get("packets")]
    return records(
        _joined(
            (
                np.cumsum([packet["ipt"] for packet in flow["packets"]]) * 1000,
                np.array([packet["dir"] == "<" for packet in flow["packets"]]),
                np.array([packet["b"] for packet in flow["packets"]]),
            )
            for flow in flows
        )
    )


def read_ucdavis(path: Path) -> FlowBatch:
    """Read flows of the UC Davis QUIC set: sizes of Ethernet frames, negative by the originator.

    Most frames are IPv6 (1412 = 14 + 40 + 8 + 1350): taken so, payloads of IPv4 are 20 bytes short.
    """
    data = np.load(path, allow_pickle=False)
    flow = np.repeat(np.arange(len(data["name"])), np.diff(data["off"]))
    size = data["size"].astype(np.int64)
    payload = np.maximum(np.abs(size) - _ETHERNET - _IPV6 - _UDP, 0)
    time_us = np.round(data["t"].astype(np.float64) * 1e6).astype(np.int64)
    return records(Packets(flow, time_us, size > 0, payload))


def records(packets: Packets, settings: FlowSettings | None = None) -> FlowBatch:
    """Cut flows into blocks as `capture` does; every block is a `Kind.FINAL` record."""
    settings = settings or FlowSettings()
    block = packets.time_us // round(settings.block_s * 1e6)
    key = packets.flow * (int(block.max(initial=0)) + 1) + block
    _, first, record, sizes = np.unique(
        key, return_index=True, return_inverse=True, return_counts=True
    )
    kept = np.arange(len(key)) - first[record] < settings.max_samples
    samples = pack_samples(
        packets.time_us - packets.time_us[first][record],
        packets.responder,
        packets.payload + _IPV6 + _UDP,
        packets.payload,
    )
    return _batch(samples[kept], np.minimum(sizes, settings.max_samples))


def _joined(flows: Iterable[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]) -> Packets:
    parts = list(flows)
    flow = np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])
    empty: list[NDArray[Any]] = [np.empty(0, np.int64)]
    columns = [np.concatenate(empty + [part[i] for part in parts]) for i in range(3)]
    return Packets(flow, columns[0], columns[1].astype(np.bool_), columns[2])


def _batch(samples: NDArray[np.uint64], sizes: NDArray[np.int64]) -> FlowBatch:
    count = len(sizes)
    return FlowBatch(
        uid=np.zeros(count, "S24"),
        kind=np.full(count, Kind.FINAL, np.uint8),
        proto=np.zeros(count, np.uint8),
        orig_h=np.zeros((count, 16), np.uint8),
        resp_h=np.zeros((count, 16), np.uint8),
        orig_p=np.zeros(count, np.uint16),
        resp_p=np.zeros(count, np.uint16),
        start_us=np.zeros(count, np.int64),
        samples=samples,
        sample_offsets=np.concatenate(([0], np.cumsum(sizes))).astype(np.int64),
        head=np.empty((0, FlowSettings().head_bytes), np.uint8),
        head_len=np.empty(0, np.uint16),
        head_l4=np.empty(0, np.uint16),
        head_offsets=np.zeros(count + 1, np.int64),
        tokens=np.empty(0, np.uint8),
        token_offsets=np.zeros(count + 1, np.int64),
    )
