"""Flow records as they could have been on another path, or cut short.

Change of the round-trip time, and packet loss: Horowicz, Shapira, Shavitt: "A few shots traffic
classification with mini-FlowPic augmentations", ACM IMC 2022. Cutting is ours: the data sets end
flows after 15 s, 50, 200 or 1000 packets, and a model must not tell categories by that.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.flow import FlowBatch, pack_samples, unpack_samples


def augment_flows(flows: FlowBatch, min_packets: int, rng: np.random.Generator) -> FlowBatch:
    """Return the records with times stretched, packets lost, and ends cut off; heads stay."""
    return _stretch(_thin(flows, min_packets, rng), rng)


def _stretch(flows: FlowBatch, rng: np.random.Generator) -> FlowBatch:
    """Multiply each record's times by a factor in [0.5, 1.5]."""
    factor = rng.uniform(0.5, 1.5, len(flows))[flows.sample_rows()]
    taken = unpack_samples(flows.samples)
    offset = (taken.offset_us * factor).astype(np.int64)
    samples = pack_samples(offset, taken.responder, taken.ip_len, taken.payload)
    return replace(flows, samples=samples)


def _thin(flows: FlowBatch, min_packets: int, rng: np.random.Generator) -> FlowBatch:
    """End half of the records anywhere after `min_packets`; lose up to 5 % of later packets."""
    row, packets = flows.sample_rows(), flows.packets
    index = np.arange(len(flows.samples)) - flows.sample_offsets[row]
    span = np.log(np.maximum(packets, min_packets) / min_packets)
    ends = min_packets * np.exp(span * rng.random(len(flows)))
    ends = np.where(rng.random(len(flows)) < 0.5, ends, packets)
    loss = rng.uniform(0, 0.05, len(flows))[row]
    kept = (index < ends[row]) & ((index < min_packets) | (rng.random(len(row)) >= loss))
    return replace(flows, samples=flows.samples[kept], sample_offsets=_offsets(row[kept], packets))


def _offsets(rows: NDArray[np.int64], packets: NDArray[np.int64]) -> NDArray[np.int64]:
    counts = np.bincount(rows, minlength=len(packets))
    return np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
