"""What the pcap and the pcapng parser share: a window that moves over the bytes of a capture."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._jit import njit
from mtc_sensor.capture.packets import PacketBatch
from mtc_sensor.capture.source import ByteSource
from mtc_sensor.errors import CaptureError

MAX_CAPTURED = 262_144
"""Most captured bytes of one packet: libpcap's MAXIMUM_SNAPLEN."""
MAX_BATCH_PACKETS = 65_536
MICROSECONDS = 1_000_000
"""In a second."""

DAMAGED = "the capture is damaged from here on: make or copy it again"
CUT_OFF = "the end is missing: copy the capture again from where it was made, if there is more"


@njit
def load_u32(data: NDArray[np.uint8], position: int, big_endian: bool) -> int:
    """Return the unsigned 32-bit number at `position`, which need not be aligned."""
    at = np.uint64(position)  # unsigned: spares the test for a negative index
    b0 = np.uint32(data[at])
    b1 = np.uint32(data[at + np.uint64(1)])
    b2 = np.uint32(data[at + np.uint64(2)])
    b3 = np.uint32(data[at + np.uint64(3)])
    if big_endian:
        return int(np.int64(b0 << 24 | b1 << 16 | b2 << 8 | b3))
    return int(np.int64(b3 << 24 | b2 << 16 | b1 << 8 | b0))


class Columns(NamedTuple):
    """Room for the packets of one batch, filled by a scan; the columns of `PacketBatch`."""

    offset: NDArray[np.int64]
    caplen: NDArray[np.int64]
    wirelen: NDArray[np.int64]
    ts_us: NDArray[np.int64]
    link: NDArray[np.int32]


class Window:
    """A moving window of a capture's bytes.

    ``data[start:end]`` has been read and not been used. Every chunk lives in a buffer of its own,
    which the batches made of it keep alive: nothing that was handed out is ever overwritten.

    Parameters
    ----------
    source
        Where the bytes come from.
    chunk_bytes
        Size of a buffer; only what does not fit into one gets a larger one.
    """

    def __init__(self, source: ByteSource, chunk_bytes: int) -> None:
        self._source = source
        self._chunk_bytes = chunk_bytes
        self._base = 0
        self.data: NDArray[np.uint8] = np.empty(0, np.uint8)
        self.start = 0
        self.end = 0

    @property
    def left(self) -> int:
        """Bytes read and not used."""
        return self.end - self.start

    def more(self) -> bool:
        """Read a chunk on, keeping what is left; False at the end of the data."""
        left = self.left
        data = np.empty(max(self._chunk_bytes, 2 * left), np.uint8)
        data[:left] = self.data[self.start : self.end]
        count = self._source.readinto(data.data[left:])
        self._base += self.start
        self.data, self.start, self.end = data, 0, left + count
        return count > 0

    def need(self, count: int) -> bool:
        """Read until `count` bytes are left; False where the data ends before."""
        while self.left < count:
            if not self.more():
                return False
        return True

    def skip(self, count: int) -> bool:
        """Pass over `count` bytes, however many; False where the data ends before."""
        while self.left < count:
            count -= self.left
            self.start = self.end
            if not self.more():
                return False
        self.start += count
        return True

    def bytes(self, count: int) -> bytes:
        """Return a copy of the first `count` bytes left (fewer if fewer are left)."""
        return self.data[self.start : min(self.start + count, self.end)].tobytes()

    def columns(self, smallest: int) -> Columns:
        """Return room for the packets of one batch, when none takes less than `smallest` bytes."""
        count = min(self.left // smallest, MAX_BATCH_PACKETS)
        offset, caplen, wirelen, ts_us = np.empty((4, count), np.int64)
        return Columns(offset, caplen, wirelen, ts_us, np.empty(count, np.int32))

    def batch(self, columns: Columns, count: int) -> PacketBatch:
        """Return the first `count` packets of `columns` as a batch."""
        return PacketBatch(
            data=self.data[: self.end],
            offset=columns.offset[:count],
            caplen=columns.caplen[:count],
            wirelen=columns.wirelen[:count],
            ts_us=columns.ts_us[:count],
            link=columns.link[:count],
        )

    def fault(self, what: str, remedy: str) -> CaptureError:
        """Return the error that says `what` is wrong at the first byte left."""
        unpacked = " after decompression" if self._source.compressed else ""
        position = self._base + self.start
        return CaptureError(f"{self._source.name}: byte {position}{unpacked}: {what}; {remedy}")
