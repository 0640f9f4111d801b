"""Machine code that tells packets' payload from what they added to their connection's.

That is less than the payload where segments are sent again or out of order, and more where some
were never seen. Then it is the packet's length less its headers; and of these it is known that
their length is divisible by four, and how long they are in other packets of the same direction.
Where the IP header has no length, whose packet it was is not known either.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._jit import inline, njit
from mtc_sensor.wire._packets import DIR_AT, LENGTH_AT, MAX_LENGTH

Counts = NDArray[np.uint64]
Ints = NDArray[np.int64]

_TCP, _UDP = 6, 17
_LEAST, _MOST = 40, 100
"""Bytes of IP and TCP headers without IPv6's extension headers."""
_WORDS = (_MOST - _LEAST) // 4 + 1
_MOST_OPTIONS = 40
_HEADERS = 64
"""Packets that are shorter may be nothing but headers."""
_NONE = 1 << 20


@njit
def set_payloads(samples: Counts, offsets: Ints, proto: NDArray[np.uint8], least: Ints) -> None:
    """Set the payload of packets whose heads are not there, and whose they are without a length.

    Parameters
    ----------
    samples
        (m,) packed, with what was added as payload; changed.
    offsets
        (n + 1,) which of them are a record's.
    proto
        (n,) IP protocol numbers.
    least
        (n,) bytes of the IP and transport headers without options.
    """
    usual, sent = np.empty(2, np.int64), np.empty(2, np.int64)
    counts = np.empty((2, _WORDS), np.int64)
    for row in range(len(proto)):
        some = samples[offsets[row] : offsets[row + 1]]
        if proto[row] == _TCP:
            _turn_offloaded(some)
            _find_usual(some, usual, counts, least[row])
            _set_segments(some, usual, least[row], sent)
        else:
            _set_datagrams(some, proto[row] == _UDP, least[row])


@inline
def _set_datagrams(samples: Counts, is_udp: bool, least: int) -> None:
    """Set payloads of UDP, and none of ICMP."""
    for at in range(len(samples)):
        _, length, added = _fields(samples[at])
        payload = added if added > 0 else max(length - least, 0)
        samples[at] = samples[at] & ~MAX_LENGTH | np.uint64(payload if is_udp else 0)


@inline
def _set_segments(samples: Counts, usual: Ints, least: int, sent: Ints) -> None:
    """Set payloads of TCP; `usual` (2,) as found, `sent` (2,) is scratch.

    `sent` gets the bits of the payloads, up to 62 bytes, that were seen in each direction: nothing
    else of that size is sent again.
    """
    sent[:] = 0
    irregular = -1
    for at in range(len(samples)):
        side, length, added = _fields(samples[at])
        is_answer = irregular == 1 - side
        payload = _segment(length, added, usual[side], least, sent[side], is_answer)
        if payload == added:
            sent[side] |= 1 << min(added, 63)
        irregular = side if payload != added else -1
        samples[at] = samples[at] & ~MAX_LENGTH | np.uint64(payload)


@inline
def _turn_offloaded(samples: Counts) -> None:
    """Find whose packets those are whose IP header has no length.

    They add no bytes to either side, so that they seem to be the originator's. One host has left
    their segmentation to its network card, and the other side acknowledges them: most of the next
    packets without payload are not that host's. If the capture lacks some of it, that is added by
    what acknowledges it.
    """
    acks_of, votes = -1, 0
    for back in range(1, len(samples) + 1):
        side, length, added = _fields(samples[len(samples) - back])
        if length == 0 and acks_of >= 0:
            votes += 1 - 2 * acks_of
        elif length > 0 and (added == 0 or length < min(added, _HEADERS)):
            acks_of = side
    if votes > 0:
        for at in range(len(samples)):
            if samples[at] >> LENGTH_AT & MAX_LENGTH == 0:
                samples[at] |= np.uint64(1) << DIR_AT


@inline
def _fields(sample: np.uint64) -> tuple[int, int, int]:
    """Return direction, length, and what was added."""
    # Signed: numba makes a float of the difference of a count and an integer.
    side = np.int64(sample >> DIR_AT & np.uint64(1))
    length = np.int64(sample >> LENGTH_AT & MAX_LENGTH)
    return int(side), int(length), int(np.int64(sample & MAX_LENGTH))


@inline
def _find_usual(samples: Counts, usual: Ints, counts: Ints, otherwise: int) -> None:
    """Set (2,) how long headers are in each direction, with (2, `_WORDS`) of scratch.

    It is what most of the packets tell that added their own payload; without such, the shortest
    packet, which may be nothing but headers; without that, the same of the other direction.
    """
    counts[:] = 0
    usual[:] = _NONE
    for sample in samples:
        side, length, added = _fields(sample)
        rest = length - added
        if added > 0 and _LEAST <= rest <= _MOST and rest % 4 == 0:
            counts[side, (rest - _LEAST) // 4] += 1
        elif added == 0 and _LEAST <= rest < _HEADERS:
            usual[side] = min(usual[side], rest - rest % 4)
    for side in range(2):
        most = np.argmax(counts[side])
        if counts[side, most] > 0:
            usual[side] = _LEAST + 4 * most
    for side in range(2):
        if usual[side] == _NONE:
            usual[side] = usual[1 - side] if usual[1 - side] != _NONE else otherwise


@inline
def _segment(length: int, added: int, usual: int, least: int, sent: int, is_answer: bool) -> int:
    """Return the payload of a TCP packet.

    `is_answer` is whether it follows one of the other direction that was sent again or left
    something out: then it may acknowledge that selectively.
    """
    rest, more = length - added, length - usual
    # A header without a length is one before segmentation offload.
    if length == 0 or (added > 0 and (rest in (usual, least) or _are_options(rest - usual))):
        return added
    if more < 0:
        return length % 4
    if more > _MOST_OPTIONS or more % 4:
        return more
    was_sent = sent >> more & 1 == 1
    if _are_options(more):
        return more if was_sent and not is_answer else 0
    return more if was_sent or added > 0 else 0


@inline
def _are_options(size: int) -> bool:
    """Return whether a handshake's options or a selective acknowledgement take so many bytes."""
    return size in (4, 8, 12, 20, 28, 36)
