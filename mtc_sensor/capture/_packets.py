"""Decoded packets as the kernel reads them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._jit import inline
from mtc_sensor.capture.packets import DecodedBatch, PacketBatch

LATEST_US = 1 << 61

PACKET = np.dtype(
    [
        ("now", "i8"),  # network time
        ("ts", "i8"),
        ("src", "i8", (2,)),  # the address as two words
        ("dst", "i8", (2,)),
        *((name, "i8") for name in ("sport", "dport", "proto", "one_way", "ip_len", "payload")),
        *((name, "i8") for name in ("tcp_flags", "tcp_seq", "tcp_ack")),
        *((name, "i8") for name in ("ip_offset", "ip_captured", "l4_offset")),
    ]
)
"""One row of a `DecodedBatch`; integers of one size keep the compiled variants few."""


class Packets(NamedTuple):
    """The columns of a `DecodedBatch` of ``r`` rows that assembly needs, and the bytes."""

    now: NDArray[np.int64]  # (r,) network time, never decreasing
    ts: NDArray[np.int64]
    src: NDArray[np.int64]  # (r, 2)
    dst: NDArray[np.int64]
    sport: NDArray[np.uint16]
    dport: NDArray[np.uint16]
    proto: NDArray[np.uint8]
    one_way: NDArray[np.bool_]
    ip_len: NDArray[np.int64]
    payload: NDArray[np.int64]
    tcp_flags: NDArray[np.uint8]
    tcp_seq: NDArray[np.uint32]
    tcp_ack: NDArray[np.uint32]
    ip_offset: NDArray[np.int64]
    ip_captured: NDArray[np.int64]
    l4_offset: NDArray[np.int64]
    data: NDArray[np.uint8]
    current: NDArray[np.void]  # (1,) PACKET, where `load` puts a row


_DTYPES = {
    **dict.fromkeys(("now", "ts"), np.int64),
    **dict.fromkeys(("src", "dst"), np.uint8),
    **dict.fromkeys(("sport", "dport"), np.uint16),
    **dict.fromkeys(("proto", "tcp_flags"), np.uint8),
    "one_way": np.bool_,
    **dict.fromkeys(("ip_len", "payload"), np.int64),
    **dict.fromkeys(("tcp_seq", "tcp_ack"), np.uint32),
    **dict.fromkeys(("ip_offset", "ip_captured", "l4_offset"), np.int64),
    "data": np.uint8,
}


def columns(packets: PacketBatch, decoded: DecodedBatch, times: NDArray[np.int64]) -> Packets:
    """Return a batch's columns; `times` is the network time at each of its packets."""
    end = decoded.ip_offset + decoded.ip_captured
    assert not len(end) or (decoded.ip_offset.min() >= 0 and end.max() <= len(packets.data))
    given = {
        **vars(decoded),
        "now": times[decoded.packet],
        "ts": np.clip(decoded.ts_us, 0, LATEST_US),
        "data": packets.data,
    }
    return _packets(given)


def no_packets() -> Packets:
    """Return columns of no rows."""
    empty = dict.fromkeys(_DTYPES, np.empty(0))
    return _packets({**empty, "src": np.empty((0, 16)), "dst": np.empty((0, 16))})


def _packets(arrays: dict[str, NDArray[Any]]) -> Packets:
    frozen = {name: _frozen(arrays[name], dtype) for name, dtype in _DTYPES.items()}
    for name in ("src", "dst"):
        frozen[name] = frozen[name].view(np.int64)
    return Packets(**frozen, current=np.empty(1, PACKET))


def _frozen(array: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Return a read-only view: the kernel is compiled once, for buffers of either kind."""
    view = np.ascontiguousarray(array, dtype).view()
    view.flags.writeable = False
    return view


@inline
def load(packets: Packets, i: int) -> Any:
    """Return row `i` of the columns as a record, valid until the next one is loaded."""
    packet = packets.current[0]
    packet.now = packets.now[i]
    packet.ts = packets.ts[i]
    for word in range(2):
        packet.src[word] = packets.src[i, word]
        packet.dst[word] = packets.dst[i, word]
    packet.sport = packets.sport[i]
    packet.dport = packets.dport[i]
    packet.proto = packets.proto[i]
    packet.one_way = packets.one_way[i]
    packet.ip_len = packets.ip_len[i]
    packet.payload = packets.payload[i]
    packet.tcp_flags = packets.tcp_flags[i]
    packet.tcp_seq = packets.tcp_seq[i]
    packet.tcp_ack = packets.tcp_ack[i]
    packet.ip_offset = packets.ip_offset[i]
    packet.ip_captured = packets.ip_captured[i]
    packet.l4_offset = packets.l4_offset[i]
    return packet
