"""Labelled records for tests of splits and of what builds on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.flow import FlowBatch
from mtc_sensor.training.flow_records import Ends, Packets, records
from mtc_sensor.training.manifest import Source
from mtc_sensor.training.tasks import Labelled


def flows(sizes: Sequence[Sequence[int]], starts: Sequence[int] | None = None) -> FlowBatch:
    """A record for each list of IP lengths; all of the originator, a second apart."""
    flow = np.repeat(np.arange(len(sizes)), [len(row) for row in sizes])
    length = np.array([size for row in sizes for size in row], np.int64)
    time = np.array([at for row in sizes for at in range(len(row))], np.int64) * 1_000_000
    packets = Packets(flow, time, np.zeros(len(flow), np.bool_), length, length - 40)
    ends = Ends.unknown(len(sizes), np.array(starts or [0] * len(sizes), np.int64))
    return records(packets, ends, FlowSettings(min_packets=1))


def labelled(
    label: Sequence[int],
    source: Sequence[int],
    sources: Sequence[Source],
    batch: FlowBatch | None = None,
) -> Labelled:
    """Label records; without a batch, each is another sequence of sizes."""
    made = flows([[60 + row] for row in range(len(label))]) if batch is None else batch
    return Labelled(made, np.array(label), np.array(source), tuple(sources))
