"""Connections of no meaning, with sound headers: to ask a model where there is no labelled data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.flow import FlowBatch, Kind, pack_samples
from mtc_sensor.inference import Model, settings_for
from mtc_sensor.training.manifest import Source
from mtc_sensor.training.tasks import Labelled

_RECORDS = 128
_TCP, _UDP, _ICMP = 6, 17, 1
_WORDS = ("ip:4", "port:443", "service:ssl", "tls:303", "cipher:c02b", "ext:10", "sni:a.test")


def made_up(model: Model, count: int = _RECORDS, seed: int = 1) -> Labelled:
    """Return records that a model judges: TCP with options, UDP and ICMP over IPv4 and IPv6."""
    rng = np.random.default_rng(seed)
    judges = model.bundle.config.judges
    packets = np.full(count, max(judges.min_packets, 8))
    heads = np.minimum(packets, 8)
    proto = rng.choice([_TCP, _TCP, _UDP, _ICMP], count).astype(np.uint8)
    head, l4 = _heads(np.repeat(proto, heads), settings_for([model]).head_bytes, rng)
    total = int(packets.sum())
    offset = np.sort(rng.integers(0, 20_000_000, (count, packets[0])), axis=1)
    flows = FlowBatch(
        uid=np.array([f"C{i}" for i in range(count)], "S24"),
        kind=np.full(count, Kind[judges.kinds[0].upper()], np.uint8),
        proto=proto,
        orig_h=rng.integers(0, 256, (count, 16), np.uint8),
        resp_h=rng.integers(0, 256, (count, 16), np.uint8),
        orig_p=rng.integers(1024, 65536, count).astype(np.uint16),
        resp_p=rng.integers(1, 1024, count).astype(np.uint16),
        start_us=rng.integers(10**15, 2 * 10**15, count),
        samples=pack_samples(
            offset.ravel(), rng.random(total) < 0.5, rng.integers(100, 1400, total),
            rng.integers(60, 1360, total),
        ),
        sample_offsets=np.concatenate(([0], np.cumsum(packets))),
        head=head,
        head_len=np.full(len(head), head.shape[1], np.uint16),
        head_l4=l4.astype(np.uint16),
        head_offsets=np.concatenate(([0], np.cumsum(heads))),
        tokens=np.empty(0, np.uint8),
        token_offsets=np.zeros(count + 1, np.int64),
    )  # fmt: skip
    flows = flows.with_documents(
        [" ".join(rng.choice(_WORDS, 4, replace=False).tolist()) for _ in range(count)]
    )
    zeros = np.zeros(count, np.int64)
    return Labelled(flows, zeros, zeros, (Source("made up", "unknown"),))


def _heads(
    proto: NDArray[np.uint8], width: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return (k, width) heads of random bytes under sound headers, and where transport begins."""
    count = len(proto)
    head = rng.integers(0, 256, (count, width), np.uint8)
    six = rng.random(count) < 0.3
    options = ~six & (rng.random(count) < 0.2)
    head[:, 0] = np.where(six, 0x60, np.where(options, 0x46, 0x45))
    l4 = np.where(six, 40, np.where(options, 24, 20))
    head[np.arange(count), np.where(six, 6, 9)] = proto
    tcp = np.flatnonzero(proto == _TCP)
    head[tcp, l4[tcp] + 12] = 0x80  # 32 bytes: NOP, NOP, timestamps
    option = l4[tcp, None] + 20 + np.arange(4)
    head[tcp[:, None], option] = (1, 1, 8, 10)
    head[proto == _ICMP, l4[proto == _ICMP]] = rng.choice([0, 8, 3], int((proto == _ICMP).sum()))
    return head, l4
