"""Where connections are held: hash table, timeout heap and three pools, all of them numpy arrays.

Connections are rows of `CONNECTION`, found through chained hash buckets. The hash is multilinear
(Lemire and Kaser, "Strongly universal string hashing is fast", 2014) under a secret key: whoever
picks the addresses cannot make chains long. Every connection has one entry in a heap of arity 4,
keyed by a time at which it may be due; the key is only raised when it reaches the top, so a packet
costs no heap operation. Samples lie in chunks of 8 and packet heads in single rows, both linked
per connection; what is free is linked too, so nothing is scanned.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._jit import inline, inner

CHUNK_SAMPLES = 8
CONNECTIONS, CHUNKS, HEADS = 0, 1, 2

CONNECTION = np.dtype(
    [
        ("key", "i8", (5,)),  # low address, high address (two words each), protocol and ports
        ("last", "i8"),  # time of the last packet that counts as activity
        ("block_start", "i8"),  # time of the current block's first packet
        ("block_end", "i8"),  # where the next block may begin
        ("packets", "i8"),
        ("next", "i4"),  # connection in the bucket's chain or the free list
        ("sampled", "i4"),  # samples in the current block
        ("first_chunk", "i4"),
        ("last_chunk", "i4"),
        ("first_head", "i4"),
        ("last_head", "i4"),
        ("start_seq", "u4", (2,)),  # TCP state by side, see _tcp.py
        ("state", "u1", (2,)),
        ("previous", "u1", (2,)),
        ("closed", "u1", (2,)),
        ("high_first", "u1"),  # the first packet's sender is the key's high end
        ("flip", "u1"),  # the originator is not the first packet's sender
        ("syn_ack_only", "u1"),
        ("dns_first", "u1"),  # DNS, but no message so far
        ("ending", "u1"),  # why `due` or a linger applies
        ("timeout", "u1"),  # index of the inactivity timeout
        ("early", "u1"),  # its early record is out
        ("start", "i8"),  # time of the first packet
        ("due", "i8"),  # end of a connection attempt or of a closed connection
        ("serial", "i8"),  # how many connections came before it
    ],
    align=True,
)
"""One connection. "Side" 0 is the sender of the first packet, 1 its counterpart: this never
changes, while a flip exchanges originator and responder. What most packets touch lies together."""

ENTRY = np.dtype([("due", "i8"), ("slot", "i8")])
CHUNK = np.dtype(
    [("next", "i4"), ("count", "i4"), ("base", "i8"), ("samples", "i8", (CHUNK_SAMPLES,))]
)
HEAD = np.dtype([("time", "i8"), ("sample", "i8"), ("next", "i4"), ("length", "u2"), ("l4", "u2")])

SETTINGS = ("min_packets", "max_samples", "head_packets")
TOTALS = ("connections", "packets", "unsampled", "below_min_packets")
STATE = np.dtype(
    [
        *((name, "i8") for name in (*SETTINGS, *TOTALS)),
        *((name, "i8") for name in ("block_us", "early_idle_us")),
        ("timeout_us", "i8", (4,)),
        ("limit", "i8", (3,)),  # entries of each pool that may be in use
        ("free", "i8", (3,)),  # first free entry of each pool or -1
        ("fresh", "i8", (3,)),  # entries of each pool that were ever in use
        ("used", "i8", (3,)),  # entries of each pool in use now
        ("secret", "i8", (11,)),  # key of the hash
    ]
)


class Table(NamedTuple):
    """All state of a `FlowTable`; ``c`` connections, ``h`` heads of ``w`` bytes fit.

    The arrays never grow. They take the memory of what was ever in use, because the system
    provides a page when it is first written.
    """

    state: NDArray[np.void]  # (1,) STATE
    server_ports: NDArray[np.bool_]  # (2, 65536) likely server ports of TCP and UDP
    buckets: NDArray[np.int32]  # (power of two,) 1 + first connection of each chain, or 0
    connections: NDArray[np.void]  # (c,) CONNECTION
    heap: NDArray[np.void]  # (c,) ENTRY, due not later than the connection's deadline
    heap_place: NDArray[np.int32]  # (c,) where each connection's entry is
    chunks: NDArray[np.void]  # CHUNK
    heads: NDArray[np.void]  # (h,) HEAD
    head_bytes: NDArray[np.uint8]  # (h, w)


def new_table(state: NDArray[np.void], head_bytes: int, server_ports: NDArray[np.bool_]) -> Table:
    """Return an empty table, one entry larger in each pool than `state` lets it keep."""
    state["free"] = -1
    connections, chunks, heads = (int(limit) + 1 for limit in state["limit"][0])
    return Table(
        state=state,
        server_ports=server_ports,
        buckets=np.zeros(1 << (2 * connections - 1).bit_length(), np.int32),
        connections=np.empty(connections, CONNECTION),
        heap=np.empty(connections, ENTRY),
        heap_place=np.empty(connections, np.int32),
        chunks=np.empty(chunks, CHUNK),
        heads=np.empty(heads, HEAD),
        head_bytes=np.empty((heads, head_bytes), np.uint8),
    )


@inline
def take(state: Any, pool: int, entries: Any) -> int:
    """Return an unused entry of a pool; there must be one."""
    state.used[pool] += 1
    entry = state.free[pool]
    if entry >= 0:
        state.free[pool] = entries[entry].next
    else:
        entry = state.fresh[pool]
        state.fresh[pool] += 1
    return int(entry)


@inline
def give(state: Any, pool: int, entries: Any, entry: int) -> None:
    """Return an entry to its pool."""
    state.used[pool] -= 1
    entries[entry].next = state.free[pool]
    state.free[pool] = entry


@inline
def bucket_of(table: Table, key: Any) -> int:
    """Return the bucket of a connection key."""
    secret = table.state[0].secret
    h: int = secret[10]
    for word in range(5):
        h += (key[word] & 0xFFFFFFFF) * secret[2 * word]
        h += ((key[word] >> 32) & 0xFFFFFFFF) * secret[2 * word + 1]
    return (h >> 32) & (len(table.buckets) - 1)


@inline
def find(table: Table, key: Any) -> int:
    """Return the connection with that key or -1."""
    slot = int(table.buckets[bucket_of(table, key)]) - 1
    while slot >= 0:
        other = table.connections[slot]
        if (
            key[4] == other.key[4]
            and key[3] == other.key[3]
            and key[1] == other.key[1]
            and key[2] == other.key[2]
            and key[0] == other.key[0]
        ):
            break
        slot = int(other.next)
    return slot


@inline
def link(table: Table, slot: int) -> None:
    """Put a connection into its bucket."""
    bucket = bucket_of(table, table.connections[slot].key)
    table.connections[slot].next = table.buckets[bucket] - 1
    table.buckets[bucket] = slot + 1


@inline
def unlink(table: Table, slot: int) -> None:
    """Take a connection out of its bucket."""
    bucket = bucket_of(table, table.connections[slot].key)
    other = int(table.buckets[bucket]) - 1
    if other == slot:
        table.buckets[bucket] = table.connections[slot].next + 1
        return
    while table.connections[other].next != slot:
        other = int(table.connections[other].next)
    table.connections[other].next = table.connections[slot].next


@inline
def _before(table: Table, due: int, slot: int, place: int) -> bool:
    """Tell whether (due, slot) comes before the entry at `place`; ties go by creation."""
    other = table.heap[place]
    if due != other.due:
        return bool(due < other.due)
    return bool(table.connections[slot].serial < table.connections[other.slot].serial)


@inline
def _put(table: Table, place: int, due: int, slot: int) -> None:
    table.heap[place].due = due
    table.heap[place].slot = slot
    table.heap_place[slot] = place


@inner
def raise_entry(table: Table, place: int, due: int, slot: int) -> None:
    """Write an entry into the hole at `place`, or above it as the order demands."""
    while place > 0:
        parent = (place - 1) >> 2
        if not _before(table, due, slot, parent):
            break
        _put(table, place, table.heap[parent].due, table.heap[parent].slot)
        place = parent
    _put(table, place, due, slot)


@inner
def lower_entry(table: Table, place: int, due: int, slot: int, size: int) -> None:
    """Write an entry into the hole at `place`, or below it as the order demands."""
    while 4 * place + 1 < size:
        child = 4 * place + 1
        for other in range(child + 1, min(child + 4, size)):
            entry = table.heap[other]
            if _before(table, entry.due, entry.slot, child):
                child = other
        if _before(table, due, slot, child):
            break
        _put(table, place, table.heap[child].due, table.heap[child].slot)
        place = child
    _put(table, place, due, slot)


@inner
def remove_entry(table: Table, slot: int, size: int) -> None:
    """Take a connection's entry out of a heap of `size` entries."""
    place = int(table.heap_place[slot])
    last = table.heap[size - 1]
    if place == size - 1:
        return
    if place > 0 and _before(table, last.due, last.slot, (place - 1) >> 2):
        raise_entry(table, place, last.due, last.slot)
    else:
        lower_entry(table, place, last.due, last.slot, size - 1)
