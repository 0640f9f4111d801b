"""Where connections are held: hash table, timeout heap and three pools, all of them numpy arrays.

Connections are rows of `CONNECTION`, found through chained hash buckets. The hash is multilinear
(Lemire and Kaser, "Strongly universal string hashing is fast", 2014) under a secret key: whoever
picks the addresses cannot make chains long. Every connection has one entry in a binary heap, keyed
by a time at which it may be due; the key is only raised when it reaches the top, so a packet costs
no heap operation. Samples lie in chunks of 8 and packet heads in single rows, both linked per
connection; what is free is linked too, so nothing is scanned and arrays only ever grow.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._jit import inner, njit

CHUNK_SAMPLES = 8
CONNECTIONS, CHUNKS, HEADS = 0, 1, 2

CONNECTION = np.dtype(
    [
        ("key", "i8", (5,)),  # low address, high address (two words each), protocol and ports
        ("start", "i8"),  # time of the first packet
        ("last", "i8"),  # time of the last packet that counts as activity
        ("due", "i8"),  # end of a connection attempt or of a closed connection
        ("serial", "i8"),  # how many connections came before it
        ("packets", "i8"),
        ("next", "i8"),  # connection in the bucket's chain or the free list
        ("place", "i8"),  # of its entry in the heap
        ("block_start", "i8"),  # time of the current block's first packet
        ("block_end", "i8"),  # where the next block may begin
        ("sampled", "i8"),  # samples in the current block
        ("first_chunk", "i8"),
        ("last_chunk", "i8"),
        ("first_head", "i8"),
        ("last_head", "i8"),
        ("high_first", "i8"),  # the first packet's sender is the key's high end
        ("flip", "i8"),  # the originator is not the first packet's sender
        ("start_seq", "u4", (2,)),  # TCP state by side, see _tcp.py
        ("state", "u1", (2,)),
        ("previous", "u1", (2,)),
        ("closed", "u1", (2,)),
        ("syn_ack_only", "u1"),
        ("ending", "u1"),  # why `due` or a linger applies
        ("timeout", "u1"),  # index of the inactivity timeout
        ("early", "u1"),  # its early record is out
    ],
    align=True,
)
"""One connection. "Side" 0 is the sender of the first packet, 1 its counterpart: this never
changes, while a flip exchanges originator and responder."""

ENTRY = np.dtype([("due", "i8"), ("slot", "i8")])
CHUNK = np.dtype(
    [("next", "i8"), ("base", "i8"), ("count", "i8"), ("samples", "i8", (CHUNK_SAMPLES,))]
)
HEAD = np.dtype(
    [("next", "i8"), ("time", "i8"), ("sample", "i8"), ("length", "u2"), ("l4", "u2")], align=True
)

SETTINGS = ("min_packets", "max_samples", "head_packets", "max_flows")
TOTALS = ("connections", "packets", "unsampled", "below_min_packets")
STATE = np.dtype(
    [
        *((name, "i8") for name in (*SETTINGS, *TOTALS)),
        *((name, "i8") for name in ("block_us", "early_idle_us", "max_chunks")),
        ("timeout_us", "i8", (4,)),
        ("free", "i8", (3,)),  # first free entry of each pool or -1
        ("fresh", "i8", (3,)),  # entries of each pool that were ever in use
        ("used", "i8", (3,)),  # entries of each pool in use now
        ("secret", "i8", (11,)),  # key of the hash
    ]
)


class Table(NamedTuple):
    """All state of a `FlowTable`; ``c`` connections, ``h`` heads of ``w`` bytes fit."""

    state: NDArray[np.void]  # (1,) STATE
    server_ports: NDArray[np.bool_]  # (2, 65536) likely server ports of TCP and UDP
    buckets: NDArray[np.int64]  # (power of two,) first connection of each chain or -1
    connections: NDArray[np.void]  # (c,) CONNECTION
    heap: NDArray[np.void]  # (c,) ENTRY, due not later than the connection's deadline
    chunks: NDArray[np.void]  # CHUNK
    heads: NDArray[np.void]  # (h,) HEAD
    head_bytes: NDArray[np.uint8]  # (h, w)


_POOLS = (("connections", "heap"), ("chunks",), ("heads", "head_bytes"))


def new_table(
    state: NDArray[np.void], head_bytes: int, server_ports: NDArray[np.bool_], capacity: int = 1024
) -> Table:
    """Return an empty table that grows from `capacity` (a power of two) entries a pool."""
    state["free"] = -1
    return Table(
        state=state,
        server_ports=server_ports,
        buckets=np.full(2 * capacity, -1, np.int64),
        connections=np.empty(capacity, CONNECTION),
        heap=np.empty(capacity, ENTRY),
        chunks=np.empty(capacity, CHUNK),
        heads=np.empty(capacity, HEAD),
        head_bytes=np.empty((capacity, head_bytes), np.uint8),
    )


def grown(table: Table) -> Table:
    """Return the table with every pool that is full doubled; positions stay what they were."""
    state = table.state[0]
    for pool, names in enumerate(_POOLS):
        if state["free"][pool] < 0 and state["fresh"][pool] == len(getattr(table, names[0])):
            table = table._replace(**{name: _doubled(getattr(table, name)) for name in names})
            if pool == CONNECTIONS:
                table = table._replace(buckets=np.full(2 * len(table.buckets), -1, np.int64))
                rehash(table)
    return table


def _doubled(array: NDArray[Any]) -> NDArray[Any]:
    new = np.empty((2 * len(array), *array.shape[1:]), array.dtype)
    new[: len(array)] = array
    return new


@inner
def has_room(state: Any, pool: int, entries: Any) -> bool:
    """Tell whether `take` would find an entry."""
    return bool(state.free[pool] >= 0 or state.fresh[pool] < len(entries))


@inner
def take(state: Any, pool: int, entries: Any) -> int:
    """Return an unused entry of a pool; there must be one."""
    state.used[pool] += 1
    entry: int = state.free[pool]
    if entry >= 0:
        state.free[pool] = entries[entry].next
    else:
        entry = state.fresh[pool]
        state.fresh[pool] += 1
    return entry


@inner
def give(state: Any, pool: int, entries: Any, entry: int) -> None:
    """Return an entry to its pool."""
    state.used[pool] -= 1
    entries[entry].next = state.free[pool]
    state.free[pool] = entry


@inner
def bucket_of(table: Table, key: Any) -> int:
    """Return the bucket of a connection key."""
    secret = table.state[0].secret
    h: int = secret[10]
    for word in range(5):
        h += (key[word] & 0xFFFFFFFF) * secret[2 * word]
        h += ((key[word] >> 32) & 0xFFFFFFFF) * secret[2 * word + 1]
    return (h >> 32) & (len(table.buckets) - 1)


@inner
def find(table: Table, key: Any) -> int:
    """Return the connection with that key or -1."""
    slot: int = table.buckets[bucket_of(table, key)]
    while slot >= 0:
        other = table.connections[slot].key
        if (
            key[4] == other[4]
            and key[3] == other[3]
            and key[1] == other[1]
            and key[2] == other[2]
            and key[0] == other[0]
        ):
            return slot
        slot = table.connections[slot].next
    return -1


@inner
def link(table: Table, slot: int) -> None:
    """Put a connection into its bucket."""
    bucket = bucket_of(table, table.connections[slot].key)
    table.connections[slot].next = table.buckets[bucket]
    table.buckets[bucket] = slot


@inner
def unlink(table: Table, slot: int) -> None:
    """Take a connection out of its bucket."""
    bucket = bucket_of(table, table.connections[slot].key)
    other = table.buckets[bucket]
    if other == slot:
        table.buckets[bucket] = table.connections[slot].next
        return
    while table.connections[other].next != slot:
        other = table.connections[other].next
    table.connections[other].next = table.connections[slot].next


@njit
def rehash(table: Table) -> None:
    """Put every connection into the (new, empty) buckets."""
    for place in range(table.state[0].used[CONNECTIONS]):
        link(table, table.heap[place].slot)


@inner
def _before(table: Table, due: int, slot: int, place: int) -> bool:
    """Tell whether (due, slot) comes before the entry at `place`; ties go by creation."""
    other = table.heap[place]
    if due != other.due:
        return bool(due < other.due)
    return bool(table.connections[slot].serial < table.connections[other.slot].serial)


@inner
def _put(table: Table, place: int, due: int, slot: int) -> None:
    table.heap[place].due = due
    table.heap[place].slot = slot
    table.connections[slot].place = place


@inner
def raise_entry(table: Table, place: int, due: int, slot: int) -> None:
    """Write an entry into the hole at `place`, or above it as the order demands."""
    while place > 0:
        parent = (place - 1) >> 1
        if not _before(table, due, slot, parent):
            break
        _put(table, place, table.heap[parent].due, table.heap[parent].slot)
        place = parent
    _put(table, place, due, slot)


@inner
def lower_entry(table: Table, place: int, due: int, slot: int, size: int) -> None:
    """Write an entry into the hole at `place`, or below it as the order demands."""
    while 2 * place + 1 < size:
        child = 2 * place + 1
        other = table.heap[child]
        if child + 1 < size and not _before(table, other.due, other.slot, child + 1):
            child += 1
        if _before(table, due, slot, child):
            break
        _put(table, place, table.heap[child].due, table.heap[child].slot)
        place = child
    _put(table, place, due, slot)


@inner
def remove_entry(table: Table, slot: int, size: int) -> None:
    """Take a connection's entry out of a heap of `size` entries."""
    place = table.connections[slot].place
    last = table.heap[size - 1]
    if place == size - 1:
        return
    if place > 0 and _before(table, last.due, last.slot, (place - 1) >> 1):
        raise_entry(table, place, last.due, last.slot)
    else:
        lower_entry(table, place, last.due, last.slot, size - 1)
