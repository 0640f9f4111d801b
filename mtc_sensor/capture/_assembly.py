"""The compiled part of flow assembly: one pass over decoded packets, see `flows` for the rules."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._jit import inline, inner, njit
from mtc_sensor.capture import _dns, _tcp
from mtc_sensor.capture._output import Output, output_has_room
from mtc_sensor.capture._packets import Packets, load
from mtc_sensor.capture._records import drop_chunk, drop_head, emit_early, emit_final, sample
from mtc_sensor.capture._roles import is_broadcast, receiver_originates
from mtc_sensor.capture._table import (
    CHUNKS,
    CONNECTIONS,
    HEADS,
    Table,
    find,
    give,
    link,
    lower_entry,
    raise_entry,
    remove_entry,
    take,
    unlink,
)

NEVER = (1 << 63) - 1

_ICMP, _TCP, _ICMP6 = 1, 6, 58


@njit
def assemble(table: Table, out: Output, packets: Packets, begin: int, end_us: int) -> int:
    """Process packets from `begin` on, then let the time go on to `end_us`.

    Returns how many packets are done, or one more than there are when all is done. If it is not,
    the caller empties the output, ends connections until no pool is over its limit, and calls
    again.
    """
    total = len(packets.ts)
    for i in range(begin, total + 1):
        now = packets.now[i] if i < total else end_us
        if not _expire(table, out, now) or not output_has_room(out):
            return i
        if i < total:
            _add(table, out, load(packets, i), packets.data)
        if _over_limit(table):
            return i + 1
    return total + 1


@inline
def _over_limit(table: Table) -> bool:
    """Tell whether more is held than allowed."""
    used, limit = table.state[0].used, table.state[0].limit
    return bool(
        used[CONNECTIONS] > limit[CONNECTIONS]
        or used[CHUNKS] > limit[CHUNKS]
        or used[HEADS] > limit[HEADS]
    )


@inline
def _expire(table: Table, out: Output, now: int) -> bool:
    """Do what is due by `now`, in the order of the deadlines; False when the output is full."""
    used = table.state[0].used
    while used[CONNECTIONS] and table.heap[0].due <= now:
        slot = int(table.heap[0].slot)
        c = table.connections[slot]
        if c.ending == _dns.SESSION:
            _dns.keep_alive(c, now)
        early = _early_due(table, c)
        due = min(early, _end_due(table, c))
        if due > table.heap[0].due:
            lower_entry(table, 0, due, slot, used[CONNECTIONS])
        elif not output_has_room(out):
            return False
        elif early == due:
            emit_early(table, out, c)
        else:
            _end(table, out, slot)
    return True


@njit
def end_all(table: Table, out: Output, slots: NDArray[np.int64], begin: int) -> int:
    """End the connections in `slots` from `begin` on; return where the output was full."""
    for i in range(begin, len(slots)):
        if not output_has_room(out):
            return i
        _end(table, out, slots[i])
    return len(slots)


@inline
def _end_due(table: Table, c: Any) -> int:
    """Return when a connection ends if nothing more happens."""
    due: int = c.last + table.state[0].timeout_us[c.timeout]
    if c.ending in (_tcp.CLOSE, _dns.SESSION) or (c.ending == _tcp.ATTEMPT and _tcp.attempting(c)):
        due = min(due, c.due)
    elif c.ending == _tcp.LINGER:
        due = min(due, c.last + _tcp.LINGER_US)
    return due


@inline
def _early_due(table: Table, c: Any) -> int:
    """Return when an idle connection's early record is due; `NEVER` where none is."""
    state = table.state[0]
    enough = state.min_packets <= c.packets < state.head_packets
    due: int = NEVER
    if enough and not c.early and state.early_idle_us > 0:
        due = c.last + state.early_idle_us
    return due


@inline
def _add(table: Table, out: Output, packet: Any, data: NDArray[np.uint8]) -> None:
    key, sender = _key(packet)
    slot = find(table, key)
    flags, seq = packet.tcp_flags, packet.tcp_seq
    is_tcp = packet.proto == _TCP
    if slot >= 0 and is_tcp and _tcp.is_reuse(table.connections[slot], flags, seq):
        _end(table, out, slot)
        slot = -1
    is_new = slot < 0
    if is_new:
        slot = _create(table, packet, key, sender)
    c = table.connections[slot]
    timeout = c.timeout
    side = sender ^ c.high_first
    if is_tcp:
        _tcp.follow(c, side, packet.ts, flags, seq, packet.tcp_ack, packet.payload)
    else:
        c.last = max(c.last, packet.ts)
        if c.dns_first:
            _dns.follow(c, side, packet, data)
    sample(table, out, packet, data, c, side)
    table.state[0].packets += 1
    may_end_sooner = flags & (_tcp.FIN | _tcp.RST) or c.timeout != timeout
    if is_new or may_end_sooner or table.state[0].early_idle_us > 0:
        _schedule(table, slot, is_new)


@inline
def _key(packet: Any) -> tuple[tuple[int, int, int, int, int], int]:
    """Return a packet's connection key, and whether its sender is the key's high end.

    The two directions share a key, except for ICMP without a counterpart.
    """
    a0, a1, a_port = packet.src[0], packet.src[1], packet.sport
    b0, b1, b_port = packet.dst[0], packet.dst[1], packet.dport
    proto = packet.proto << 32
    if packet.one_way or (a0, a1, a_port) <= (b0, b1, b_port):
        return (a0, a1, b0, b1, proto | a_port << 16 | b_port), 0
    return (b0, b1, a0, a1, proto | b_port << 16 | a_port), 1


@inner
def _create(table: Table, packet: Any, key: Any, sender: int) -> int:
    slot = take(table.state[0], CONNECTIONS, table.connections)
    c = table.connections[slot]
    for word in range(5):
        c.key[word] = key[word]
    c.start = packet.ts
    c.last = packet.ts
    c.due = 0
    c.serial = table.state[0].connections
    c.packets = 0
    c.first_head = -1
    c.high_first = sender
    c.early = 0
    for side in range(2):
        c.start_seq[side] = 0
        c.state[side] = _tcp.INACTIVE
        c.previous[side] = _tcp.INACTIVE
        c.closed[side] = 0
    c.ending = _tcp.NOTHING
    c.dns_first = 0
    _assign_roles(table, packet, c)
    if _dns.is_dns(c, packet.proto):
        _dns.start(c, packet.now)
    link(table, slot)
    table.state[0].connections += 1
    return slot


@inline
def _assign_roles(table: Table, packet: Any, c: Any) -> None:
    proto, flags = packet.proto, packet.tcp_flags
    flip = receiver_originates(
        table.server_ports, proto, flags, packet.sport, packet.dport
    ) and not is_broadcast(packet.dst)
    c.flip = 1 if flip else 0
    control = flags & (_tcp.SYN | _tcp.FIN | _tcp.RST)
    c.syn_ack_only = (
        1 if proto == _TCP and control == _tcp.SYN and flags & _tcp.ACK and not flip else 0
    )
    icmp = proto in (_ICMP, _ICMP6)
    c.timeout = _tcp.ICMP_TIMEOUT if icmp else _tcp.UDP_TIMEOUT


@inner
def _schedule(table: Table, slot: int, is_new: bool) -> None:
    """Give a connection its place in the heap, or a better one if its deadline came nearer."""
    c = table.connections[slot]
    due = min(_early_due(table, c), _end_due(table, c))
    if is_new:
        raise_entry(table, table.state[0].used[CONNECTIONS] - 1, due, slot)
    elif due < table.heap[table.heap_place[slot]].due:
        raise_entry(table, int(table.heap_place[slot]), due, slot)


@inner
def _end(table: Table, out: Output, slot: int) -> None:
    """Take a connection out of the table; its final record, if it has one, is written."""
    c = table.connections[slot]
    if c.packets >= table.state[0].min_packets or c.early:
        emit_final(table, out, c)
    else:
        table.state[0].below_min_packets += 1
    while c.first_chunk >= 0:
        drop_chunk(table, c)
    while c.first_head >= 0:
        drop_head(table, c)
    remove_entry(table, slot, table.state[0].used[CONNECTIONS])
    unlink(table, slot)
    give(table.state[0], CONNECTIONS, table.connections, slot)
