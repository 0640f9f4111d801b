"""What passes between the stages of capture: packets as read, and their IP layers as decoded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class PacketBatch:
    """Packets as captured: ``n`` packets in one buffer of bytes, in the order of the capture."""

    data: NDArray[np.uint8]
    """(b,) bytes; what lies between packets (record headers) has no meaning."""
    offset: NDArray[np.int64]
    """(n,) where in `data` each packet's link-layer header begins."""
    caplen: NDArray[np.int64]
    """(n,) captured bytes; ``offset + caplen <= b`` always holds."""
    wirelen: NDArray[np.int64]
    """(n,) bytes on the wire, at least `caplen`."""
    ts_us: NDArray[np.int64]
    """(n,) microseconds since the epoch; finer resolutions are truncated, as libpcap does."""
    link: NDArray[np.int32]
    """(n,) link type (LINKTYPE_*; pcapng files may mix them)."""

    def __len__(self) -> int:
        return len(self.offset)


@dataclass(frozen=True, eq=False)
class DecodedBatch:
    """IP datagrams that belong to connections: ``r`` rows in packet order.

    A packet gives no row (not IP, malformed), one, or two and more: a VXLAN, Geneve or Teredo
    packet gives its outer UDP row and then its inner one. A fragmented datagram gives one row, with
    its last fragment.
    """

    packet: NDArray[np.int64]
    """(r,) index of the packet in its `PacketBatch`, not decreasing."""
    ts_us: NDArray[np.int64]
    """(r,) the packet's time."""
    src: NDArray[np.uint8]
    """(r, 16) source address, IPv4 as ::ffff:a.b.c.d."""
    dst: NDArray[np.uint8]
    """(r, 16) destination address."""
    sport: NDArray[np.uint16]
    """(r,) source port; ICMP: the type, as Zeek has it."""
    dport: NDArray[np.uint16]
    """(r,) destination port; ICMP: the counterpart's type, or the code, as Zeek has it."""
    proto: NDArray[np.uint8]
    """(r,) 1, 6, 17 or 58."""
    one_way: NDArray[np.bool_]
    """(r,) ICMP without a counterpart: Zeek keeps both directions of it apart by type and code."""
    ip_len: NDArray[np.int64]
    """(r,) IP total length, bytes (IPv6: 40 + payload length; reassembled: the datagram's)."""
    payload: NDArray[np.int64]
    """(r,) transport payload bytes by the headers' lengths; 0 without TCP or UDP payload."""
    tcp_flags: NDArray[np.uint8]
    """(r,) the TCP flags byte; 0 for others."""
    tcp_seq: NDArray[np.uint32]
    """(r,) TCP sequence number; 0 for others."""
    tcp_ack: NDArray[np.uint32]
    """(r,) TCP acknowledgement number; 0 for others."""
    ip_offset: NDArray[np.int64]
    """(r,) where in the batch's `data` this row's IP header begins."""
    ip_captured: NDArray[np.int64]
    """(r,) captured bytes from the IP header on, at most to the datagram's end (no trailers)."""
    l4_offset: NDArray[np.int64]
    """(r,) transport header relative to the IP header; 0 where the captured bytes hold none."""

    def __len__(self) -> int:
        return len(self.packet)
