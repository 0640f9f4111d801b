"""Machine code that finds a connection's own headers in the packet heads of its samples.

Most heads are an IP header right behind the link layer's, and a transport header with the
connection's ports right behind that. `mtc_sensor.capture` knows all others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._jit import inline, njit
from mtc_sensor.wire._packets import LENGTH_AT, MAX_LENGTH

Bytes = NDArray[np.uint8]
Ports = NDArray[np.uint16]
Ints = NDArray[np.int64]
Counts = NDArray[np.uint64]

UNUSUAL = -1

_ETHERNET, _COOKED = 1, 113
_RAW = (12, 14, 101, 228, 229)
_TCP, _UDP, _ICMP, _ICMP6 = 6, 17, 1, 58
_MAPPED = 10
"""Where in 16 bytes the mark of an IPv4 address begins."""
_FRAGMENT = 0x3FFF


@njit
def cut_heads(
    data: Bytes,
    ends: Ints,
    head_offsets: Ints,
    sample_offsets: Ints,
    link: NDArray[np.int32],
    proto: Bytes,
    orig: tuple[Bytes, Ports],
    resp: tuple[Bytes, Ports],
    answers: Ints,
    samples: Counts,
    head: Bytes,
    length: Ports,
    l4: Ports,
    unusual: NDArray[np.bool_],
) -> None:
    """Cut heads to what follows their link layer, and set the payload length of their samples.

    Parameters
    ----------
    data, ends, head_offsets, sample_offsets, link, proto
        As in `Records`.
    orig, resp
        (n, 16) addresses and (n,) ports.
    answers
        (2, 256) which type answers each of ICMP, and of ICMP for IPv6; -1 for none.
    samples
        (m,) of all records; those whose packets have heads get the payload length of these.
    head
        (k, width) zeros, receives the bytes from the IP header on.
    length, l4
        (k,) zeros, receive how many bytes these are, and where in them transport begins.
    unusual
        (k,) receives which heads could not be read; nothing else is written for them.
    """
    for row in range(len(link)):
        for k in range(head_offsets[row], head_offsets[row + 1]):
            packet = data[ends[k] : ends[k + 1]]
            at = _ip_at(packet, link[row])
            transport, total, payload = _headers(packet, at, proto[row])
            ports = _ports(packet, transport, proto[row], answers)
            there = _match(packet, at, ports, row, orig, resp)
            unusual[k] = not (there or _match(packet, at, ports, row, resp, orig))
            if unusual[k]:
                continue
            captured = min(len(packet) - at, total, head.shape[1])
            head[k, :captured] = packet[at : at + captured]
            length[k] = captured
            l4[k] = transport - at if transport - at < captured else 0
            sample = sample_offsets[row + 1] - (head_offsets[row + 1] - k)
            if sample >= sample_offsets[row]:
                _set_payload(samples, sample, total, payload)


@inline
def _set_payload(samples: Counts, at: int, total: int, payload: int) -> None:
    """Set a sample's payload length, if its packet is as long as it says."""
    if samples[at] >> LENGTH_AT & MAX_LENGTH == np.uint64(min(total, 0xFFFF)):
        samples[at] = samples[at] & ~MAX_LENGTH | np.uint64(payload)


@inline
def _u16(data: Bytes, at: int) -> int:
    return int(data[at]) << 8 | int(data[at + 1])


@inline
def _ip_at(packet: Bytes, link: int) -> int:
    """Return where the IP header begins, or `UNUSUAL`."""
    if link in _RAW:
        return 0
    begin = 14 if link == _ETHERNET else 16 if link == _COOKED else 0
    if begin == 0 or len(packet) < begin or _u16(packet, begin - 2) not in (0x0800, 0x86DD):
        return UNUSUAL
    return begin


@inline
def _headers(packet: Bytes, at: int, proto: int) -> tuple[int, int, int]:
    """Return where the transport header begins, or `UNUSUAL`, the IP and the payload length.

    `UNUSUAL` is what is cut short, contradicts itself, is a fragment or has other headers between.
    """
    least = 20 if proto == _TCP else 8
    if at < 0 or len(packet) < at + 20:
        return UNUSUAL, 0, 0
    version = packet[at] >> 4
    if version == 4:
        header, total, named = (packet[at] & 15) * 4, _u16(packet, at + 2), packet[at + 9]
        whole = header >= 20 and not _u16(packet, at + 6) & _FRAGMENT
    elif version == 6 and len(packet) >= at + 40:
        header, total, named = 40, 40 + _u16(packet, at + 4), packet[at + 6]
        whole = True
    else:
        return UNUSUAL, 0, 0
    begin = at + header
    if not whole or named != proto or total < header + least or len(packet) < begin + least:
        return UNUSUAL, 0, 0
    if proto != _TCP:
        length = _u16(packet, begin + 4) if proto == _UDP else 0
        return begin, total, max(length - 8, 0)
    size = (packet[begin + 12] >> 4) * 4
    if size < 20 or size > total - header:
        return UNUSUAL, 0, 0
    return begin, total, total - header - size


@inline
def _ports(packet: Bytes, at: int, proto: int, answers: Ints) -> tuple[int, int]:
    """Return source and destination port; of ICMP its type and the answering one, or its code."""
    if at < 0:
        return UNUSUAL, UNUSUAL
    if proto not in (_ICMP, _ICMP6):
        return _u16(packet, at), _u16(packet, at + 2)
    answer = answers[0 if proto == _ICMP else 1, packet[at]]
    return int(packet[at]), int(answer if answer >= 0 else packet[at + 1])


@inline
def _match(
    packet: Bytes,
    at: int,
    ports: tuple[int, int],
    row: int,
    source: tuple[Bytes, Ports],
    target: tuple[Bytes, Ports],
) -> bool:
    """Return whether a packet goes from one end of its connection to the other."""
    if ports[0] != source[1][row] or ports[1] != target[1][row]:
        return False
    four = packet[at] >> 4 == 4
    where = at + 12 if four else at + 8
    return _equal(packet, where, four, source[0][row]) and _equal(
        packet, where + (4 if four else 16), four, target[0][row]
    )


@inline
def _equal(packet: Bytes, at: int, four: bool, address: Bytes) -> bool:
    """Return whether an address in a packet is one of 16 bytes."""
    for byte in range(16):
        if four and byte < 12:
            found = np.uint8(0xFF if byte >= _MAPPED else 0)
        else:
            found = packet[at + byte - (12 if four else 0)]
        if found != address[byte]:
            return False
    return True
