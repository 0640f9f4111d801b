"""The scan over a run of pcapng blocks: sequential by nature, so compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._jit import njit
from mtc_sensor.capture.pcapng_interface import MAX_SECONDS
from mtc_sensor.capture.window import MAX_CAPTURED, MICROSECONDS, Columns, load_u32

SECTION, INTERFACE = 0x0A0D0D0A, 1
OLD_PACKET, SIMPLE_PACKET, ENHANCED_PACKET = 2, 3, 6
SMALLEST_BLOCK, SMALLEST_PACKET_BLOCK = 12, 16
_NO_BLOCK = -1
LARGEST_BLOCK = MAX_CAPTURED + (128 << 10) + 32
"""Of those that are held whole: a packet with 128 KiB of options, as in libpcap."""

SKIPPED = (
    "unknown",
    "name resolution",
    "interface statistics",
    "systemd journal export",
    "decryption secrets",
    "custom",
)
"""Names of the blocks that hold neither packets nor what it takes to read them."""


@njit
def skipped_slot(kind: int) -> int:
    """Return where `SKIPPED` names a block type."""
    if kind in (4, 5):
        return kind - 3
    if kind in (9, 10):
        return kind - 6
    return 5 if kind in (0x00000BAD, 0x40000BAD) else 0


@njit
def scan_blocks(
    data: NDArray[np.uint8],
    position: int,
    end: int,
    big_endian: bool,
    interfaces: NDArray[np.void],
    last_us: int,
    columns: Columns,
    skipped: NDArray[np.int64],
) -> tuple[int, int]:
    """Fill `columns` with packets until they are full or the next block needs a closer look.

    Returns how many packets there are, and the position of the first block not taken: not whole,
    not sane, or one that describes a section or an interface.
    """
    count = 0
    while count < len(columns.offset):
        kind, total = _whole_block(data, position, end, big_endian)
        if kind in (_NO_BLOCK, SECTION, INTERFACE):
            break
        if kind in (ENHANCED_PACKET, SIMPLE_PACKET, OLD_PACKET):
            index, start, captured, wirelen = _packet(data, position, total, kind, big_endian)
            if captured < 0 or index >= len(interfaces):
                break
            if kind == SIMPLE_PACKET:
                captured = min(captured, int(interfaces[0].snaplen))
            else:
                last_us = _time_us(data, position + 12, big_endian, interfaces[index])
            columns.offset[count] = position + start
            columns.caplen[count] = captured
            columns.wirelen[count] = max(wirelen, captured)
            columns.ts_us[count] = last_us
            columns.link[count] = interfaces[index].link
            count += 1
        else:
            skipped[skipped_slot(kind)] += 1
        position += total
    return count, position


@njit
def _whole_block(
    data: NDArray[np.uint8], position: int, end: int, big_endian: bool
) -> tuple[int, int]:
    """Return type and length of a block that is here as a whole, else `_NO_BLOCK`."""
    if end - position < SMALLEST_BLOCK:
        return _NO_BLOCK, 0
    total = load_u32(data, position + 4, big_endian)
    if total < SMALLEST_BLOCK or total % 4 or total > end - position:
        return _NO_BLOCK, 0
    if load_u32(data, position + total - 4, big_endian) != total:
        return _NO_BLOCK, 0
    return load_u32(data, position, big_endian), total


@njit
def _packet(
    data: NDArray[np.uint8], position: int, total: int, kind: int, big_endian: bool
) -> tuple[int, int, int, int]:
    """Return a packet block's interface, where its packet begins, captured length and wire length.

    The captured length is -1 where it cannot be.
    """
    if kind == SIMPLE_PACKET:
        wirelen = load_u32(data, position + 8, big_endian)
        return 0, 12, min(wirelen, total - 16), wirelen
    if total < 32 or total > LARGEST_BLOCK:
        return 0, 0, -1, 0
    index = load_u32(data, position + 8, big_endian)
    if kind == OLD_PACKET:  # 16 bits of interface, 16 of drops
        index = index >> 16 if big_endian else index & 0xFFFF
    captured = load_u32(data, position + 20, big_endian)
    if captured > min(total - 32, MAX_CAPTURED):
        captured = -1
    return index, 28, captured, load_u32(data, position + 24, big_endian)


@njit
def _time_us(data: NDArray[np.uint8], position: int, big_endian: bool, interface: Any) -> int:
    """Return the time at `position`, two halves of a count of the interface's ticks."""
    high = np.uint64(load_u32(data, position, big_endian))
    ticks = high << np.uint64(32) | np.uint64(load_u32(data, position + 4, big_endian))
    seconds = min(ticks // interface.per_second, np.uint64(MAX_SECONDS))
    fraction = ticks % interface.per_second * interface.factor // interface.divisor
    us = seconds * np.uint64(MICROSECONDS) + fraction
    return int(np.int64(us) + interface.offset_us)
