"""The scan over a run of pcapng blocks: sequential by nature, so compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._jit import njit
from mtc_sensor.capture.pcapng_interface import MAX_SECONDS
from mtc_sensor.capture.window import MAX_CAPTURED, MICROSECONDS, Columns, load_u32

SECTION, INTERFACE = 0x0A0D0D0A, 1
OLD_PACKET, SIMPLE_PACKET, ENHANCED_PACKET = 2, 3, 6
SMALLEST_BLOCK, SMALLEST_PACKET_BLOCK = 12, 16
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
    while count < len(columns.offset) and end - position >= SMALLEST_BLOCK:
        kind = load_u32(data, position, big_endian)
        total = load_u32(data, position + 4, big_endian)
        if total < SMALLEST_BLOCK or total % 4 or total > end - position:
            break
        if load_u32(data, position + total - 4, big_endian) != total:
            break
        if kind in (ENHANCED_PACKET, OLD_PACKET):
            if not _take_packet(
                data, position, total, kind, big_endian, interfaces, columns, count
            ):
                break
            count += 1
        elif kind == SIMPLE_PACKET:
            if not _take_simple(data, position, total, big_endian, interfaces, columns, count):
                break
            columns.ts_us[count] = columns.ts_us[count - 1] if count else last_us
            count += 1
        elif kind in (SECTION, INTERFACE):
            break
        else:
            skipped[skipped_slot(kind)] += 1
        position += total
    return count, position


@njit
def _take_packet(
    data: NDArray[np.uint8],
    position: int,
    total: int,
    kind: int,
    big_endian: bool,
    interfaces: NDArray[np.void],
    columns: Columns,
    row: int,
) -> bool:
    """Put an enhanced or an obsolete packet block into `columns`; False if it is not sane."""
    index = load_u32(data, position + 8, big_endian)
    if kind == OLD_PACKET:  # 16 bits of interface, 16 of drops
        index = index >> 16 if big_endian else index & 0xFFFF
    captured = load_u32(data, position + 20, big_endian)
    if total < 32 or total > LARGEST_BLOCK or index >= len(interfaces):
        return False
    if captured > min(total - 32, MAX_CAPTURED):
        return False
    interface = interfaces[index]
    high = np.uint64(load_u32(data, position + 12, big_endian))
    ticks = high << np.uint64(32) | np.uint64(load_u32(data, position + 16, big_endian))
    seconds = min(ticks // interface.per_second, np.uint64(MAX_SECONDS))
    fraction = ticks % interface.per_second * interface.factor // interface.divisor
    columns.ts_us[row] = np.int64(seconds) * MICROSECONDS + np.int64(fraction) + interface.offset_us
    columns.offset[row] = position + 28
    columns.caplen[row] = captured
    columns.wirelen[row] = max(load_u32(data, position + 24, big_endian), captured)
    columns.link[row] = interface.link
    return True


@njit
def _take_simple(
    data: NDArray[np.uint8],
    position: int,
    total: int,
    big_endian: bool,
    interfaces: NDArray[np.void],
    columns: Columns,
    row: int,
) -> bool:
    """Put a simple packet block, all but its time, into `columns`; False if it is not sane."""
    if total < 16 or total > LARGEST_BLOCK or not len(interfaces):
        return False
    wirelen = load_u32(data, position + 8, big_endian)
    columns.offset[row] = position + 12
    columns.caplen[row] = min(wirelen, total - 16, int(interfaces[0].snaplen))
    columns.wirelen[row] = wirelen
    columns.link[row] = interfaces[0].link
    return True
