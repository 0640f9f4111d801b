"""Read pcap and pcapng captures as columns of packets, in memory bounded by one chunk.

Formats as libpcap has them (pcap-savefile(5), sf-pcap.c; pcapng: see `mtc_sensor.capture.pcapng`),
plain or compressed with gzip or zstd.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._jit import njit
from mtc_sensor.capture.packets import PacketBatch
from mtc_sensor.capture.pcapng import SECTION_MAGIC, PcapngPackets
from mtc_sensor.capture.pcapng_scan import SKIPPED
from mtc_sensor.capture.source import ByteSource
from mtc_sensor.capture.window import (
    CUT_OFF,
    DAMAGED,
    MAX_CAPTURED,
    MICROSECONDS,
    Columns,
    Window,
    load_u32,
)
from mtc_sensor.errors import CaptureError

CHUNK_BYTES = 8 << 20

_FILE_HEADER = 24
_LINK_MASK = 0x03FFFFFF  # above it: the frame check sequence's length (libpcap's LT_LINKTYPE)


class _Variant(NamedTuple):
    """What a pcap file's magic number says about its records."""

    big_endian: bool
    record_header: int
    """Bytes before a packet."""
    ticks_per_us: int


_VARIANTS = {
    magic.to_bytes(4, order): _Variant(order == "big", header, ticks)
    for magic, header, ticks in (
        (0xA1B2C3D4, 16, 1),
        (0xA1B23C4D, 16, 1000),
        (0xA1B2CD34, 24, 1),  # Kuznetzov's patch: interface, protocol and type follow the lengths
    )
    for order in ("little", "big")
}


class CaptureReader:
    """The packets of one capture, batch by batch; iterate once, use as a context manager.

    Parameters
    ----------
    path
        A pcap or pcapng file, plain or compressed with gzip or zstd; "-" is standard input.
    chunk_bytes
        Bytes read at once. A batch is made of one chunk and has at most 65,536 packets.

    Raises
    ------
    CaptureError
        The file cannot be opened. While iterating: the file is not a capture, or damaged; all
        packets before the damage have been yielded then, and the message says how many.
    """

    packets: int
    """Packets yielded so far."""

    def __init__(self, path: Path | str, *, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._source = ByteSource(path)
        self._window = Window(self._source, chunk_bytes)
        self.packets = 0
        self._skipped = np.zeros(len(SKIPPED), np.int64)

    @property
    def bytes_read(self) -> int:
        """Bytes of the stored (compressed) file consumed so far."""
        return self._source.bytes_read

    @property
    def bytes_total(self) -> int | None:
        """Size of the stored (compressed) file; None for standard input and pipes."""
        return self._source.bytes_total

    @property
    def skipped(self) -> dict[str, int]:
        """Blocks of a pcapng file passed over so far, which hold no packets, by name."""
        counts = zip(SKIPPED, self._skipped.tolist(), strict=True)
        return {name: count for name, count in counts if count}

    def __iter__(self) -> Iterator[PacketBatch]:
        try:
            for batch in self._batches():
                self.packets += len(batch)
                yield batch
        except CaptureError as error:
            raise CaptureError(f"{error} ({self._used()})") from error

    def _used(self) -> str:
        if not self.packets:
            return "no packet was read"
        return f"the {self.packets} packets before it were read and used"

    def _batches(self) -> Iterator[PacketBatch]:
        window = self._window
        window.need(_FILE_HEADER)
        magic = window.bytes(4)
        if magic == SECTION_MAGIC:
            return iter(PcapngPackets(window, self._skipped))
        if magic in _VARIANTS:
            return _pcap_batches(window, _VARIANTS[magic])
        raise _not_a_capture(window)

    def close(self) -> None:
        """Close the file; standard input stays open."""
        self._source.close()

    def __enter__(self) -> CaptureReader:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def read_packets(path: Path | str, *, chunk_bytes: int = CHUNK_BYTES) -> Iterator[PacketBatch]:
    """Yield the packets of one capture; see `CaptureReader` for parameters and errors."""
    with CaptureReader(path, chunk_bytes=chunk_bytes) as reader:
        yield from reader


def capture_files(paths: Iterable[Path | str]) -> list[Path]:
    """Return the captures that `paths` name.

    What is not a directory is taken as it is ("-" too). A directory is walked, sorted by name, and
    gives the files that begin as a capture does, compressed or not, whatever they are called; a
    file in it that may not be read is given as well, so that reading it says why.

    Raises
    ------
    CaptureError
        A directory holds no capture or may not be read.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        inside = list(_captures_below(path)) if _is(Path.is_dir, path) else [path]
        if not inside:
            raise CaptureError(
                f"{path}: no capture in this directory or below; "
                "name a directory with pcap or pcapng files"
            )
        found += inside
    return found


def _captures_below(directory: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise CaptureError(
            f"{error.filename}: directory cannot be read: {error.strerror}; "
            "grant the right to read it, or name the files"
        ) from error

    files = (
        Path(folder, name)
        for folder, _, names in os.walk(directory, onerror=refuse)
        for name in names
    )
    for path in sorted(files):
        if _is(Path.is_file, path) and _is_capture(path):
            yield path


def _is(kind: Callable[[Path], bool], path: Path) -> bool:
    try:
        return kind(path)
    except OSError:  # of what cannot even be looked at, reading will say why
        return False


def _is_capture(path: Path) -> bool:
    if not os.access(path, os.R_OK):
        return True
    try:
        with ByteSource(path) as source:
            magic = bytearray(4)
            source.readinto(memoryview(magic))
    except CaptureError:
        return False
    return bytes(magic) == SECTION_MAGIC or bytes(magic) in _VARIANTS


def _not_a_capture(window: Window) -> CaptureError:
    remedy = "give a pcap or pcapng capture, plain or compressed with gzip or zstd"
    if not window.left:
        return window.fault("the file is empty", remedy)
    return window.fault(f"not a capture: it begins with {window.bytes(16)!r}", remedy)


def _pcap_batches(window: Window, variant: _Variant) -> Iterator[PacketBatch]:
    if window.left < _FILE_HEADER:
        raise window.fault(
            f"the file ends inside its header, after {window.left} of {_FILE_HEADER} bytes",
            CUT_OFF,
        )
    order = ">" if variant.big_endian else "<"
    snaplen, link = struct.unpack(order + "16xII", window.bytes(_FILE_HEADER))
    if not 0 < snaplen <= MAX_CAPTURED:
        snaplen = MAX_CAPTURED
    window.start += _FILE_HEADER
    while True:
        columns = window.columns(variant.record_header)
        columns.link.fill(np.int32(link & _LINK_MASK))
        count, window.start = _scan_records(
            window.data, window.start, window.end, *variant, snaplen, columns
        )
        if count:
            yield window.batch(columns, count)
        elif not _more_records(window, variant):
            return


def _more_records(window: Window, variant: _Variant) -> bool:
    """Read on where the scan stopped; False at the end of the file, CaptureError for a fault."""
    header = window.bytes(variant.record_header)
    captured = 0
    if len(header) == variant.record_header:
        (captured,) = struct.unpack_from(">I" if variant.big_endian else "<I", header, 8)
        if captured > MAX_CAPTURED:
            raise window.fault(
                f"a record of {captured} bytes, where {MAX_CAPTURED} are the most",
                DAMAGED,
            )
    if window.more():
        return True
    if window.left:
        raise window.fault(
            f"the file ends inside a record, after {window.left} of "
            f"{variant.record_header + captured} bytes",
            CUT_OFF,
        )
    return False


@njit
def _scan_records(
    data: NDArray[np.uint8],
    position: int,
    end: int,
    big_endian: bool,
    record_header: int,
    ticks_per_us: int,
    snaplen: int,
    columns: Columns,
) -> tuple[int, int]:
    """Fill `columns` with records until they are full or no complete, sane record is left.

    Returns how many packets there are, and the position of the first record not taken. As in
    libpcap, a packet longer than the file's snapshot length is cut to it.
    """
    count = 0
    while count < len(columns.offset) and end - position >= record_header:
        captured = load_u32(data, position + 8, big_endian)
        if captured > MAX_CAPTURED or captured > end - position - record_header:
            break
        seconds = load_u32(data, position, big_endian)
        ticks = load_u32(data, position + 4, big_endian)
        columns.offset[count] = position + record_header
        columns.caplen[count] = min(captured, snaplen)
        columns.wirelen[count] = max(load_u32(data, position + 12, big_endian), captured)
        columns.ts_us[count] = seconds * MICROSECONDS + ticks // ticks_per_us
        position += record_header + captured
        count += 1
    return count, position
