"""A capture file as flow records: reader, decoder and flow table in one pass, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import CaptureError
from ..flow import FlowBatch
from .decode import KNOWN_LINKS, Decoder
from .flows import FlowSettings, FlowTable
from .packets import PacketBatch
from .pcap import CaptureReader


@dataclass
class CaptureCounts:
    """What one capture held; `dropped` counts by name what gave no flow record."""

    packets: int = 0
    bytes: int = 0
    """Bytes on the wire."""
    flows: int = 0
    dropped: dict[str, int] = field(default_factory=dict)


class CaptureFile:
    """Iterate over the flow records of one capture.

    Memory is bounded by `settings.max_flows`, not by the file's size. A file that turns out to be
    damaged yields everything before the damage, ends its connections there, and only then raises
    `CaptureError`. `counts` is up to date after every batch; `on_progress` is called after each
    chunk of packets with the bytes consumed of the file (compressed ones, if it is compressed).
    """

    def __init__(
        self,
        path: Path | str,
        settings: FlowSettings | None = None,
        on_progress: Callable[[int], None] | None = None,
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
                        self._on_progress(reader.bytes_read)
            except CaptureError as error:
                fault = error
            self.counts.dropped |= reader.skipped
        yield self._table.finish()
        self._update_counts()
        if fault is not None:
            raise fault

    def _add(self, packets: PacketBatch) -> FlowBatch:
        self._refuse_unknown_links(packets)
        self.counts.packets += len(packets)
        self.counts.bytes += int(packets.wirelen.sum())
        records = self._table.add(packets, self._decoder.decode(packets))
        self._update_counts()
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

    def _update_counts(self) -> None:
        self.counts.flows = self._table.connections
        self.counts.dropped |= self._decoder.counts | self._table.counts
