"""What gives the label away: how well each single field of a header tells classes apart.

A field is cut into at most 64 bins by the quantiles of the training rows; a record's scores are the
shares that the classes have of its bin there, and they are measured on the validation rows. A field
that says nothing of what an application does, such as an address, a port or a time to live, and
still scores high is a shortcut: a model that sees it learns the captures, not the traffic.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.flow import FlowBatch, unpack_samples
from mtc_sensor.training.metrics import auroc
from mtc_sensor.training.splits import Split, size_sequences
from mtc_sensor.training.tasks import Labelled

Values = NDArray[np.float64]

_BINS = 64
_HOUR_US, _DAY_US, _YEAR_US = 3_600_000_000, 86_400_000_000, 31_556_952_000_000
_TCP, _UDP = 6, 17
_SIZES = 4
_BEHAVIOUR = {"packets", "duration", *(f"size of packet {i + 1}" for i in range(_SIZES))}


class Leak(NamedTuple):
    """One field."""

    field: str
    auroc: float
    """Of a single binned field: one class against the rest, the mean over the classes."""
    shortcut: bool
    """Whether it says nothing of what an application does."""


def leaks(labelled: Labelled, split: Split) -> list[Leak]:
    """Return all fields that any record has, those that tell most first."""
    found = [
        Leak(name, _separation(values, labelled.label, split), name not in _BEHAVIOUR)
        for name, values in header_fields(labelled.flows).items()
        if np.isfinite(values).any()
    ]
    known = [leak for leak in found if np.isfinite(leak.auroc)]
    return sorted(known, key=lambda leak: -leak.auroc)


def header_fields(flows: FlowBatch) -> dict[str, Values]:
    """Return (n,) values of every field; NaN where a record has none.

    Those of IP and transport headers are of the first packet with a head.
    """
    return _record_fields(flows) | _packet_fields(flows)


def _record_fields(flows: FlowBatch) -> dict[str, Values]:
    known = flows.orig_h.any(axis=1)
    timed = flows.start_us > 0
    duration = (flows.last_us() - flows.start_us).astype(np.float64)
    sizes = size_sequences(flows, _SIZES).astype(np.float64)
    return {
        "originator network": _network(flows.orig_h),
        "responder network": _network(flows.resp_h),
        "originator port": np.where(known, flows.orig_p, np.nan),
        "responder port": np.where(known, flows.resp_p, np.nan),
        "protocol": np.where(flows.proto > 0, flows.proto, np.nan),
        "year": np.where(timed, flows.start_us // _YEAR_US, np.nan),
        "hour of the day": np.where(timed, flows.start_us % _DAY_US // _HOUR_US, np.nan),
        "packets": flows.packets.astype(np.float64),
        "duration": duration,
        "captured share of packets": _captured(flows),
        **{f"size of packet {i + 1}": sizes[:, i] for i in range(_SIZES)},
    }


def _network(hosts: NDArray[np.uint8]) -> Values:
    """(n,) a number for the first half of an IPv6 address, or the first 16 bits of an IPv4 one."""
    mapped = (hosts[:, :10] == 0).all(axis=1)
    ipv4 = hosts[:, 12].astype(np.float64) * 256 + hosts[:, 13]
    ipv6 = np.ascontiguousarray(hosts[:, :8]).view(">u8")[:, 0].astype(np.float64)
    network: Values = np.where(hosts.any(axis=1), np.where(mapped, ipv4, ipv6), np.nan)
    return network


def _captured(flows: FlowBatch) -> Values:
    """(n,) captured bytes of the heads, by what their packets had and a head can hold."""
    row, index = flows.head_rows(), np.arange(len(flows.head_len))
    index -= flows.head_offsets[row]
    there = index < flows.packets[row]
    row, index = row[there], index[there]
    length = unpack_samples(flows.samples[flows.sample_offsets[row] + index]).ip_len
    held = np.bincount(row, flows.head_len[there], len(flows))
    full = np.bincount(row, np.minimum(length, flows.head.shape[1]), len(flows))
    share: Values = np.divide(held, full, out=np.full(len(flows), np.nan), where=full > 0)
    return share


def _packet_fields(flows: FlowBatch) -> dict[str, Values]:
    rows = np.flatnonzero(flows.heads)
    at = flows.head_offsets[rows]
    head, l4 = flows.head[at], flows.head_l4[at].astype(np.int64)
    version = head[:, 0] >> 4
    ipv4, proto = version == 4, flows.proto[rows]
    found = {
        "IP version": version.astype(np.float64),
        "IP header length": np.where(ipv4, (head[:, 0] & 15) * 4.0, np.nan),
        "type of service": np.where(ipv4, head[:, 1], np.nan),
        "IP identification": np.where(ipv4, _u16(head, 4), np.nan),
        "don't fragment": np.where(ipv4, head[:, 6] >> 6 & 1, np.nan),
        "time to live": np.where(ipv4, head[:, 8], head[:, 7]).astype(np.float64),
    }
    for proto_number, name, offset in (
        (_TCP, "TCP sequence number", 4),
        (_TCP, "TCP header length", 12),
        (_TCP, "TCP window", 14),
        (_TCP, "TCP checksum", 16),
        (_UDP, "UDP checksum", 6),
    ):
        there = (proto == proto_number) & (l4 > 0) & (l4 + offset + 1 < head.shape[1])
        found[name] = np.where(there, _u16(head, np.where(there, l4, 0) + offset), np.nan)
    found["TCP header length"] = found["TCP header length"] // 4096 * 4
    everywhere = {}
    for name, values in found.items():
        everywhere[name] = np.full(len(flows), np.nan)
        everywhere[name][rows] = values
    return everywhere


def _u16(head: NDArray[np.uint8], at: int | NDArray[np.int64]) -> Values:
    """(k,) big-endian numbers at a position of each head."""
    position = np.broadcast_to(np.minimum(at, head.shape[1] - 2), len(head))
    row = np.arange(len(head))
    numbers: Values = head[row, position] * 256.0 + head[row, position + 1]
    return numbers


def _separation(values: Values, label: NDArray[np.int64], split: Split) -> float:
    """Return the mean one-against-rest AUROC on the validation rows."""
    train, known = values[split.train], np.isfinite(values[split.train])
    cuts = np.linspace(0, 1, _BINS if known.any() else 0)
    edges = np.unique(np.quantile(train[known], cuts)) if len(cuts) else np.empty(0)
    cell = np.where(np.isfinite(values), np.searchsorted(edges, values, "right"), len(edges) + 1)
    classes = int(label.max(initial=0)) + 1
    table = np.zeros((len(edges) + 2, classes))
    np.add.at(table, (cell[split.train], label[split.train]), 1)
    prior = table.sum(0) / max(table.sum(), 1)
    shares = (table + prior) / (table.sum(1, keepdims=True) + 1)
    asked, real = cell[split.val], label[split.val]
    scores = [
        auroc(shares[asked, one], real == one)
        for one in np.unique(real).tolist()
        if (real != one).any()
    ]
    return float(np.mean(scores)) if scores else float("nan")
