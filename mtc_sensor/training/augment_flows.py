"""Flow records as they could have been on another path, or cut short; heads stay.

Each function changes a random `share` of the records. Change of the round-trip time, time shift and
packet loss: Horowicz, Shapira, Shavitt: "A few shots traffic classification with mini-FlowPic
augmentations", ACM IMC 2022. Cutting and the words are ours: the data sets end flows after 15 s,
50, 200 or 500 packets, and a model must not tell labels by that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.flow import FlowBatch, pack_samples, unpack_samples

Augment = Callable[[FlowBatch, np.random.Generator, float], FlowBatch]

_FEWEST = 10
"""Packets that are left of a record, where it has them: what a category needs."""
_MOST_LOST = 0.05
_LONGEST_SHIFT_US = 1e6


def change_rtt(flows: FlowBatch, rng: np.random.Generator, share: float) -> FlowBatch:
    """Multiply each record's times by a factor in [0.5, 1.5]."""
    factor = np.where(rng.random(len(flows)) < share, rng.uniform(0.5, 1.5, len(flows)), 1.0)
    return _with_times(flows, lambda offset, row: offset * factor[row])


def shift_time(flows: FlowBatch, rng: np.random.Generator, share: float) -> FlowBatch:
    """Delay all packets of a record by up to a second: it began before its first packet."""
    chosen = rng.random(len(flows)) < share
    shift = np.where(chosen, rng.uniform(0, _LONGEST_SHIFT_US, len(flows)), 0.0)
    return _with_times(flows, lambda offset, row: offset + shift[row])


def lose_packets(flows: FlowBatch, rng: np.random.Generator, share: float) -> FlowBatch:
    """Lose up to 5 % of the packets after the tenth."""
    chosen = rng.random(len(flows)) < share
    loss = np.where(chosen, rng.uniform(0, _MOST_LOST, len(flows)), 0.0)
    row, index = _places(flows)
    return _kept(flows, row, (index < _FEWEST) | (rng.random(len(row)) >= loss[row]))


def end_early(flows: FlowBatch, rng: np.random.Generator, share: float) -> FlowBatch:
    """End the record anywhere after its tenth packet; short ends are as likely as long ones."""
    packets = flows.packets
    span = np.log(np.maximum(packets, _FEWEST) / _FEWEST)
    ends = _FEWEST * np.exp(span * rng.random(len(flows)))
    ends = np.where(rng.random(len(flows)) < share, ends, packets)
    row, index = _places(flows)
    return _kept(flows, row, index < ends[row])


def first_seconds(flows: FlowBatch, seconds: float) -> FlowBatch:
    """Return all records as they were so long after their first packet."""
    row, _ = _places(flows)
    return _kept(flows, row, unpack_samples(flows.samples).offset_us <= seconds * 1e6)


def lose_words(flows: FlowBatch, rng: np.random.Generator, share: float) -> FlowBatch:
    """Take a tenth of the words out of a record's document."""
    chosen = rng.random(len(flows)) < share
    documents = flows.documents()
    for row in np.flatnonzero(chosen).tolist():
        words = documents[row].split()
        there = rng.random(len(words)) >= 0.1
        documents[row] = " ".join(w for w, stays in zip(words, there, strict=True) if stays)
    return flows.with_documents(documents)


FLOWS: dict[str, Augment] = {
    "rtt": change_rtt,
    "shift": shift_time,
    "loss": lose_packets,
    "end": end_early,
    "words": lose_words,
}
"""By their names in recipes."""


def _places(flows: FlowBatch) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return of each sample its record and its place there."""
    row = flows.sample_rows()
    return row, np.arange(len(row)) - flows.sample_offsets[row]


def _with_times(
    flows: FlowBatch,
    change: Callable[[NDArray[np.float64], NDArray[np.int64]], NDArray[np.float64]],
) -> FlowBatch:
    taken = unpack_samples(flows.samples)
    offset = change(taken.offset_us.astype(np.float64), flows.sample_rows()).astype(np.int64)
    samples = pack_samples(offset, taken.responder, taken.ip_len, taken.payload)
    return replace(flows, samples=samples)


def _kept(flows: FlowBatch, row: NDArray[np.int64], kept: NDArray[np.bool_]) -> FlowBatch:
    counts = np.bincount(row[kept], minlength=len(flows))
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    return replace(flows, samples=flows.samples[kept], sample_offsets=offsets)
