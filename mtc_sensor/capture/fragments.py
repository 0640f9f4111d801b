"""Reassembly of IP fragments across batches, by Zeek's rules (src/Frag.cc, src/Reassem.cc).

Fragments belong together by source, destination and identification. Where they overlap, what came
first stays. A datagram is complete once its last fragment has been seen and everything before that
fragment's end; it is then as long as what lies there without a gap.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._jit import njit
from mtc_sensor.capture.extensions import walk_extensions
from mtc_sensor.capture.layers import BE32, Bytes, Counts, Ints, Mask, gather, u16
from mtc_sensor.capture.network import Datagrams, fragment_offset
from mtc_sensor.capture.packets import PacketBatch

TIMEOUT_US: Final = 300_000_000
"""How long the fragments of a datagram may take; Zeek's frag_timeout."""
MAX_PENDING: Final = 4096
"""Incomplete datagrams that are held between batches."""
MAX_PENDING_BYTES: Final = 8 << 20
"""Bytes of their fragments."""

_MAX_DATAGRAM: Final = 65535
_MAX_END: Final = 8 * 0x1FFF + 65535  # of a fragment's payload in its datagram
_LINK_RAW: Final = 101
_PENDING, _USED, _LATE = 0, 1, 2
_FIRST, _HEAD, _LAST, _START, _STOP = range(5)  # columns of _assemble's result


@dataclass(frozen=True, eq=False)
class _Fragments:
    """``n`` fragments, in order of arrival within each datagram."""

    data: Bytes
    at: Ints
    """(n,) where in `data` the IP header begins; the payload follows it."""
    row: Ints
    """(n,) which of the fragments last added it is, -1 for one held before."""
    key: NDArray[np.uint64]
    """(n, 5) source, destination, identification."""
    ts_us: Ints
    header: Ints
    kept: Ints
    """(n,) bytes of header in the whole datagram: without the IPv6 fragment header."""
    length: Ints
    """(n,) bytes of payload."""
    offset: Ints
    """(n,) where in the datagram's payload they belong."""
    more: Mask
    proto: Ints
    """(n,) protocol of the payload."""
    named_at: Ints
    """(n,) where in the IPv6 headers the fragment header is named."""

    def __len__(self) -> int:
        return len(self.at)

    def take(self, rows: Ints | Mask) -> _Fragments:
        return _Fragments(self.data, *(getattr(self, f.name)[rows] for f in fields(self)[1:]))

    def packed(self) -> _Fragments:
        """Return the same fragments with no other bytes beside theirs."""
        size = self.header + self.length
        stop = np.cumsum(size)
        return replace(self, data=_pack(self.data, self.at, size), at=stop - size)

    def then(self, later: _Fragments) -> _Fragments:
        """Return these fragments and later ones."""
        later = replace(later, at=later.at + len(self.data))
        pairs = ((getattr(self, f.name), getattr(later, f.name)) for f in fields(self))
        return _Fragments(*(np.concatenate(pair) for pair in pairs))

    def datagrams(self) -> Mask:
        """(n,) whether a row begins another datagram; rows of one must lie together."""
        starts = np.ones(len(self), np.bool_)
        starts[1:] = (self.key[1:] != self.key[:-1]).any(1)
        return starts


class Reassembler:
    """Holds the fragments of incomplete datagrams: a bounded number, the newest ones."""

    def __init__(self) -> None:
        none = np.empty(0, np.int64)
        columns = (none,) * (len(fields(_Fragments)) - 1)
        held = _Fragments(np.empty(0, np.uint8), *columns)  # type: ignore[arg-type]
        self._held = replace(held, key=np.empty((0, 5), np.uint64), more=np.empty(0, np.bool_))

    def add(
        self, batch: PacketBatch, fragments: Datagrams, counts: Counts
    ) -> tuple[PacketBatch, Ints]:
        """Add fragments that were captured to their end.

        Parameters
        ----------
        batch, fragments
            The fragments and the packets that they are in.
        counts
            Takes fragment_pending (a fragment that completes nothing), fragment_timeout and
            fragment_overflow (datagrams given up), bad_fragment (a length of 0, or of more than
            65,535 bytes when reassembled).

        Returns
        -------
        tuple
            The datagrams that became whole, as raw IP packets with the time of their last
            fragment; and which of the `fragments` that was, for each.
        """
        new = _read(batch, fragments, counts)
        joined = self._held.then(new.packed())
        joined = joined.take(np.lexsort(joined.key.T))  # stable: arrival stays the order in a key
        status, made, out, late = _assemble(
            joined.data,
            joined.datagrams(),
            joined.at,
            joined.header,
            joined.kept,
            joined.length,
            joined.offset,
            joined.more,
            joined.ts_us,
        )
        counts.add("fragment_pending", len(new) - len(made))
        counts.add("fragment_timeout", late)
        now = int(joined.ts_us.max(initial=0))
        self._held = _bounded(joined.take(status == _PENDING), now, counts)
        made = made[np.argsort(joined.row[made[:, _LAST]])]
        whole = made[made[:, _STOP] - made[:, _START] <= _MAX_DATAGRAM]
        counts.add("bad_fragment", len(made) - len(whole))
        return _packets(joined, whole, out), joined.row[whole[:, _LAST]]


def _read(batch: PacketBatch, fragments: Datagrams, counts: Counts) -> _Fragments:
    """Read the fields that matter to reassembly, in order of arrival."""
    row = np.argsort(fragments.layer.packet, kind="stable")
    row = row[fragments.total[row] > 0]
    counts.add("bad_fragment", len(fragments) - len(row))
    fragments = fragments.take(row)
    pos, data = fragments.layer.pos, batch.data
    offset, more = fragment_offset(data, fragments)
    key = np.empty((len(row), 5), np.uint64)
    key[:, :2], key[:, 2:4] = fragments.src.view("<u8"), fragments.dst.view("<u8")
    key[:, 4] = u16(data, pos + 4)
    kept, named_at = fragments.header.copy(), np.zeros_like(pos)
    six = np.flatnonzero(fragments.window["version"] >> 4 == 6)
    key[six, 4] = gather(data, (pos + fragments.header - 4)[six], BE32)
    kept[six] -= 8
    named_at[six] = walk_extensions(data, pos[six], fragments.layer.captured[six]).named_at
    return _Fragments(
        data=data,
        at=pos,
        row=row,
        key=key,
        ts_us=batch.ts_us[fragments.layer.packet],
        header=fragments.header,
        kept=kept,
        length=fragments.length,
        offset=offset,
        more=more,
        proto=fragments.proto.astype(np.int64),
        named_at=named_at,
    )


def _bounded(held: _Fragments, now: int, counts: Counts) -> _Fragments:
    """Return what may stay, oldest datagrams dropped first."""
    starts = np.flatnonzero(held.datagrams())
    if not starts.size:
        return held.packed()
    size = np.add.reduceat(held.header + held.length, starts)
    began = held.ts_us[starts]
    in_time = now - began < TIMEOUT_US
    newest = np.argsort(-began, kind="stable")
    stays = np.zeros(len(starts), np.bool_)
    stays[newest] = np.cumsum(size[newest]) <= MAX_PENDING_BYTES
    stays[newest[MAX_PENDING:]] = False
    counts.add("fragment_timeout", ~in_time)
    counts.add("fragment_overflow", in_time & ~stays)
    rows = np.repeat(stays & in_time, np.diff(np.append(starts, len(held))))
    held = held.take(rows).packed()
    return replace(held, row=np.full(len(held), -1, np.int64))


def _packets(fragments: _Fragments, made: Ints, out: Bytes) -> PacketBatch:
    """Return reassembled datagrams as packets, their headers mended to say that they are whole."""
    start, size = made[:, _START], made[:, _STOP] - made[:, _START]
    is_six = out[start] >> 4 == 6
    length = np.where(is_six, size - 40, size)
    at = start + np.where(is_six, 4, 2)
    out[at], out[at + 1] = length >> 8, length & 0xFF
    four, six = start[~is_six], start[is_six]
    out[four + 6] = out[four + 7] = 0
    out[six + fragments.named_at[made[is_six, _FIRST]]] = fragments.proto[made[is_six, _HEAD]]
    return PacketBatch(
        data=out,
        offset=start,
        caplen=size,
        wirelen=size,
        ts_us=fragments.ts_us[made[:, _LAST]],
        link=np.full(len(made), _LINK_RAW, np.int32),
    )


@njit
def _pack(data: Bytes, at: Ints, size: Ints) -> Bytes:
    packed = np.empty(size.sum(), np.uint8)
    stop = 0
    for i in range(len(at)):
        packed[stop : stop + size[i]] = data[at[i] : at[i] + size[i]]
        stop += size[i]
    return packed


@njit
def _assemble(
    data: Bytes,
    starts: Mask,
    at: Ints,
    header: Ints,
    kept: Ints,
    length: Ints,
    offset: Ints,
    more: Mask,
    ts_us: Ints,
) -> tuple[NDArray[np.uint8], Ints, Bytes, int]:
    """Put fragments together that lie datagram by datagram; linear in their bytes.

    Returns what became of each fragment; for each whole datagram the rows of its first fragment,
    of the one at its head and of the last, and its place in the bytes returned with it; and how
    many datagrams took too long.
    """
    status = np.zeros(len(at), np.uint8)
    made = np.empty((len(at), 5), np.int64)
    out = np.empty((kept + length).sum() + 2 * _MAX_END, np.uint8)
    filled = np.full(_MAX_END, -1, np.int32)  # by which attempt each byte was written
    count = given_up = first = head = size = end = stop = 0
    attempt, fresh = -1, True
    for i in range(len(at)):
        late = not fresh and not starts[i] and ts_us[i] - ts_us[first] >= TIMEOUT_US
        if late:
            status[first:i] = _LATE
            given_up += 1
        if fresh or late or starts[i]:
            first, head, size, end, attempt, fresh = i, i, 0, 0, attempt + 1, False
        upper = offset[i] + length[i]
        if offset[i] == 0:
            head = i
        if not more[i] or size:
            size = max(size, upper)
        payload = stop + kept[first]
        for j in range(length[i]):
            k = offset[i] + j
            if filled[k] != attempt:
                filled[k] = attempt
                out[payload + k] = data[at[i] + header[i] + j]
        while end < _MAX_END and filled[end] == attempt:
            end += 1
        if size and end >= size and length[i]:
            out[stop:payload] = data[at[first] : at[first] + kept[first]]
            made[count] = first, head, i, stop, payload + end
            status[first : i + 1] = _USED
            count, stop, fresh = count + 1, payload + end, True
    return status, made[:count], out[:stop], given_up
