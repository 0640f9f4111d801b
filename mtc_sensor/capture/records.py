"""A capture file as flow records: reader, decoder and flow table in one pass, in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from mtc_sensor.capture.decode import KNOWN_LINKS, Decoder
from mtc_sensor.capture.flows import FlowCounts, FlowSettings, FlowTable
from mtc_sensor.capture.packets import PacketBatch
from mtc_sensor.capture.pcap import CaptureReader
from mtc_sensor.errors import CaptureError
from mtc_sensor.flow import FlowBatch


@dataclass
class CaptureCounts:
    """What one capture held."""

    packets: int = 0
    bytes: int = 0
    """Bytes on the wire."""
    flows: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    """What is not in the records, by reason: blocks of a file, packets, samples, connections."""

    def __add__(self, other: CaptureCounts) -> CaptureCounts:
        dropped = Counter(self.dropped)
        dropped.update(other.dropped)
        return CaptureCounts(
            packets=self.packets + other.packets,
            bytes=self.bytes + other.bytes,
            flows=self.flows + other.flows,
            dropped=dict(dropped),
        )

    def add(self, packets: PacketBatch) -> None:
        """Count packets as read."""
        self.packets += len(packets)
        self.bytes += int(packets.wirelen.sum())

    def update(self, undecoded: Mapping[str, int], seen: FlowCounts) -> None:
        """Take over what a decoder and a flow table have counted so far."""
        self.flows = seen.connections
        self.dropped |= undecoded
        self.dropped |= {
            "unsampled": seen.unsampled,
            "below_min_packets": seen.below_min_packets,
            "evicted": seen.evicted,
        }

    def copy(self) -> CaptureCounts:
        """Return the counts as they are now."""
        return replace(self, dropped=dict(self.dropped))


class CaptureFile:
    """Iterate over the flow records of one capture.

    Memory is bounded by `settings.max_flows`, not by the file's size. A file that turns out to be
    damaged yields everything before the damage, ends its connections there, and only then raises
    `CaptureError`. `counts` is up to date after every batch; `on_progress` is called after each
    chunk of packets with the bytes consumed of the file (as stored, compressed or not) and the
    packets so far.
    """

    def __init__(
        self,
        path: Path | str,
        settings: FlowSettings | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.path = path
        self.counts = CaptureCounts()
        self._table = FlowTable(settings or FlowSettings())
        self._decoder = Decoder()
        self._on_progress = on_progress

    def __iter__(self) -> Iterator[FlowBatch]:
        fault: CaptureError | None = None
        with CaptureReader(self.path) as reader:
            try:
                for packets in reader:
                    yield self._add(packets)
                    if self._on_progress is not None:
                        self._on_progress(reader.bytes_read, self.counts.packets)
            except CaptureError as error:
                fault = error
            self.counts.dropped |= reader.skipped
        yield self._table.finish()
        self.counts.update(self._decoder.counts, self._table.counts)
        if fault is not None:
            raise fault

    def _add(self, packets: PacketBatch) -> FlowBatch:
        self._refuse_unknown_links(packets)
        self.counts.add(packets)
        records = self._table.add(packets, self._decoder.decode(packets))
        self.counts.update(self._decoder.counts, self._table.counts)
        return records

    def _refuse_unknown_links(self, packets: PacketBatch) -> None:
        """Refuse a capture that starts with packets none of which could ever be decoded."""
        if self.counts.packets or not len(packets):
            return
        links = np.unique(packets.link).tolist()
        if not any(link in KNOWN_LINKS for link in links):
            known = ", ".join(str(link) for link in sorted(KNOWN_LINKS))
            raise CaptureError(
                f"{self.path}: link type {links[0]} is not supported; "
                f"supported are {known}: convert the capture or record it on another interface"
            )
