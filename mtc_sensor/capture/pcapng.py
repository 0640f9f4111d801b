"""Read pcapng (draft-ietf-opsawg-pcapng): several sections, interfaces and resolutions.

As libpcap reads it (sf-pcapng.c), but interfaces may differ in link type and snapshot length, and
sections in byte order.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.capture.packets import PacketBatch
from mtc_sensor.capture.pcapng_interface import INTERFACE_FIELDS, parse_interface
from mtc_sensor.capture.pcapng_scan import (
    ENHANCED_PACKET,
    INTERFACE,
    LARGEST_BLOCK,
    OLD_PACKET,
    SECTION,
    SIMPLE_PACKET,
    SMALLEST_BLOCK,
    SMALLEST_PACKET_BLOCK,
    scan_blocks,
    skipped_slot,
)
from mtc_sensor.capture.window import CUT_OFF, DAMAGED, MAX_CAPTURED, Columns, Window
from mtc_sensor.errors import CaptureError

SECTION_MAGIC = b"\x0a\x0d\x0d\x0a"
"""A section header block's type, the same in both byte orders."""

MAX_INTERFACES = 1 << 16

_BYTE_ORDERS = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
_SMALLEST = {SECTION: 28, INTERFACE: 20, OLD_PACKET: 32, SIMPLE_PACKET: 16, ENHANCED_PACKET: 32}


class PcapngPackets:
    """The packets of a pcapng file; iterate once.

    A simple packet block has no time: its packet gets the time of the one before it in the file (0
    if there is none), so that flows stay whole where libpcap would put them in 1970.

    Parameters
    ----------
    window
        The file's bytes, from its first section header on.
    skipped
        (6,) counts of skipped blocks, by the names of `SKIPPED`; they are added to.
    """

    def __init__(self, window: Window, skipped: NDArray[np.int64]) -> None:
        self._window = window
        self._skipped = skipped
        self._order = "<"
        self._interfaces = np.zeros(MAX_INTERFACES, INTERFACE_FIELDS)
        self._known = 0

    def __iter__(self) -> Iterator[PacketBatch]:
        """Yield batches; raises CaptureError where the file is damaged or cut off."""
        window = self._window
        last_us = 0
        while window.left or window.more():
            columns = window.columns(SMALLEST_PACKET_BLOCK)
            count = self._scan(columns, last_us)
            if count:
                last_us = int(columns.ts_us[count - 1])
                yield window.batch(columns, count)
            elif window.left:
                self._take_block()

    def _scan(self, columns: Columns, last_us: int) -> int:
        window = self._window
        count, window.start = scan_blocks(
            window.data,
            window.start,
            window.end,
            self._order == ">",
            self._interfaces[: self._known],
            last_us,
            columns,
            self._skipped,
        )
        return count

    def _take_block(self) -> None:
        """Take the block at which the scan stopped, or say what is wrong with it.

        Of a block that is not whole it only reads the rest: the scan is to try again then.
        """
        window = self._window
        if window.left < SMALLEST_BLOCK:
            self._need(SMALLEST_BLOCK)
            return
        kind, total = self._block_header()
        if kind not in _SMALLEST:
            self._skip(kind, total)
        elif not _SMALLEST[kind] <= total <= LARGEST_BLOCK:
            raise window.fault(f"a block of type {kind} that is {total} bytes long", DAMAGED)
        elif window.left < total:
            self._need(total)
        else:
            self._check_trailer(total, window.bytes(total)[-4:])
            self._describe(kind, total)
            window.start += total

    def _describe(self, kind: int, total: int) -> None:
        """Take in what a whole block says about the packets to come."""
        if kind == SECTION:
            self._begin_section()
        elif kind == INTERFACE:
            self._add_interface(self._window.bytes(total)[8:-4])
        else:
            raise self._bad_packet(kind, total)

    def _block_header(self) -> tuple[int, int]:
        window = self._window
        header = window.bytes(SMALLEST_BLOCK)
        if header.startswith(SECTION_MAGIC):
            if header[8:] not in _BYTE_ORDERS:
                raise window.fault(f"a section with byte-order magic {header[8:]!r}", DAMAGED)
            self._order = _BYTE_ORDERS[header[8:]]
        kind, total = self._unpack("II", 0)
        if total < SMALLEST_BLOCK or total % 4:
            what = f"a block that is {total} bytes long, not a multiple of 4 of 12 or more"
            raise window.fault(what, DAMAGED)
        return kind, total

    def _skip(self, kind: int, total: int) -> None:
        """Pass over a block of any length without holding it."""
        window = self._window
        if not (window.skip(total - 4) and window.need(4)):
            raise self._cut_off(total)
        self._check_trailer(total, window.bytes(4))
        window.start += 4
        self._skipped[skipped_slot(kind)] += 1

    def _check_trailer(self, total: int, trailer: bytes) -> None:
        (repeated,) = struct.unpack(self._order + "I", trailer)
        if repeated != total:
            what = f"a block that is {total} bytes long by its head, {repeated} by its end"
            raise self._window.fault(what, DAMAGED)

    def _begin_section(self) -> None:
        major, minor = self._unpack("HH", 12)
        if major != 1:
            what = f"a section of pcapng version {major}.{minor}, where only 1.x is known"
            raise self._window.fault(what, "convert the capture with editcap -F pcap")
        self._known = 0

    def _add_interface(self, body: bytes) -> None:
        if self._known == MAX_INTERFACES:
            raise self._window.fault(f"more than {MAX_INTERFACES} interfaces", DAMAGED)
        try:
            self._interfaces[self._known] = parse_interface(body, self._order)
        except ValueError as error:
            what = f"interface {self._known} cannot be used: {error}"
            raise self._window.fault(what, "convert the capture with editcap -F pcap") from error
        self._known += 1

    def _bad_packet(self, kind: int, total: int) -> CaptureError:
        """Return why the scan did not take a whole packet block: its interface or its length."""
        index, captured = 0, 0
        if kind != SIMPLE_PACKET:
            (index,) = self._unpack("I" if kind == ENHANCED_PACKET else "H", 8)
            (captured,) = self._unpack("I", 20)
        if index >= self._known:
            what = f"a packet of interface {index}, where {self._known} have been described"
        else:
            room = min(total - _SMALLEST[kind], MAX_CAPTURED)
            what = f"a packet of {captured} bytes, where {room} are the most possible"
        return self._window.fault(what, DAMAGED)

    def _need(self, total: int) -> None:
        if not self._window.need(total):
            raise self._cut_off(total)

    def _cut_off(self, total: int) -> CaptureError:
        return self._window.fault(f"the file ends inside a block of {total} bytes", CUT_OFF)

    def _unpack(self, fields: str, offset: int) -> tuple[int, ...]:
        """Return fields of the block that the window begins with."""
        layout = self._order + fields
        return struct.unpack_from(
            layout, self._window.bytes(offset + struct.calcsize(layout)), offset
        )
