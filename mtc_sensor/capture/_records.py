"""What a connection keeps of its packets, and the records made of it; compiled, see `flows`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc_sensor._jit import inline, inner
from mtc_sensor.capture._output import Output
from mtc_sensor.capture._table import (
    CHUNK_SAMPLES,
    CHUNKS,
    HEADS,
    Table,
    give,
    take,
)
from mtc_sensor.capture._tcp import port_of
from mtc_sensor.flow import MAX_LENGTH, MAX_OFFSET_US, Kind

_EARLY, _BLOCK, _FINAL = int(Kind.EARLY), int(Kind.BLOCK), int(Kind.FINAL)


@inline
def sample(
    table: Table, out: Output, packet: Any, data: NDArray[np.uint8], c: Any, side: int
) -> None:
    """Count and keep a packet of a connection, and emit the records that it makes due."""
    state = table.state[0]
    ts = packet.ts
    if c.packets == 0 or ts >= c.block_end:
        _begin_block(table, c, ts)
    c.packets += 1
    lengths = (side << 32) | (_saturated(packet.ip_len) << 16) | _saturated(packet.payload)
    if c.packets >= state.min_packets:
        emit_past_blocks(table, out, c)
    if c.sampled < state.max_samples:
        _store(table, c, lengths | (_offset(ts - c.block_start) << 33))
    else:
        state.unsampled += 1
    if c.packets <= state.head_packets and not c.early:
        _store_head(table, packet, data, c, lengths)
        if c.packets == state.head_packets:
            emit_early(table, out, c)


@inline
def _saturated(length: int) -> int:
    return min(max(length, 0), MAX_LENGTH)


@inline
def _offset(microseconds: int) -> int:
    return min(max(microseconds, 0), MAX_OFFSET_US)


@inner
def _begin_block(table: Table, c: Any, ts: int) -> None:
    block_us = table.state[0].block_us
    c.block_start = ts
    c.block_end = c.start + ((ts - c.start) // block_us + 1) * block_us
    c.sampled = 0
    _add_chunk(table, c, c.packets == 0)


@inline
def _add_chunk(table: Table, c: Any, is_first: bool) -> None:
    chunk = take(table.state[0], CHUNKS, table.chunks)
    table.chunks[chunk].base = c.block_start
    table.chunks[chunk].count = 0
    table.chunks[chunk].next = -1
    if is_first:
        c.first_chunk = chunk
    else:
        table.chunks[c.last_chunk].next = chunk
    c.last_chunk = chunk


@inline
def _store(table: Table, c: Any, sample: int) -> None:
    if table.chunks[c.last_chunk].count == CHUNK_SAMPLES:
        _add_chunk(table, c, False)
    chunk = table.chunks[c.last_chunk]
    chunk.samples[chunk.count] = sample
    chunk.count += 1
    c.sampled += 1


@inner
def _store_head(table: Table, packet: Any, data: NDArray[np.uint8], c: Any, lengths: int) -> None:
    row = take(table.state[0], HEADS, table.heads)
    table.heads[row].next = -1
    if c.first_head < 0:
        c.first_head = row
    else:
        table.heads[c.last_head].next = row
    c.last_head = row
    target = table.head_bytes[row]
    length = min(max(packet.ip_captured, 0), len(target))
    begin = packet.ip_offset
    for byte in range(length):
        target[byte] = data[begin + byte]
    for byte in range(length, len(target)):
        target[byte] = 0
    head = table.heads[row]
    head.time = packet.ts
    head.sample = lengths
    head.length = length
    head.l4 = packet.l4_offset if packet.l4_offset < length else 0


@inline
def _emit_row(out: Output, c: Any, kind: int, start: int) -> Any:
    row = out.rows[out.used[0]]
    out.used[0] += 1
    originator = 2 * (c.flip ^ c.high_first)
    for word in range(2):
        row.orig_h[word] = c.key[originator + word]
        row.resp_h[word] = c.key[2 - originator + word]
    row.orig_p = port_of(c, c.flip)
    row.resp_p = port_of(c, 1 - c.flip)
    row.proto = c.key[4] >> 32
    row.kind = kind
    row.start = start
    row.connection_start = c.start
    row.serial = c.serial
    row.samples = 0
    row.heads = 0
    return row


@inline
def _emit_sample(out: Output, row: Any, c: Any, sample: int) -> None:
    out.samples[out.used[1]] = sample ^ (c.flip << 32)
    out.used[1] += 1
    row.samples += 1


@inner
def _emit_block(table: Table, out: Output, c: Any, kind: int) -> Any:
    """Write a record of a connection's first block, and give its chunks back."""
    start = table.chunks[c.first_chunk].base
    row = _emit_row(out, c, kind, start)
    while c.first_chunk >= 0 and table.chunks[c.first_chunk].base == start:
        chunk = table.chunks[c.first_chunk]
        for n in range(chunk.count):
            _emit_sample(out, row, c, chunk.samples[n])
        drop_chunk(table, c)
    return row


@inline
def drop_chunk(table: Table, c: Any) -> None:
    """Give a connection's first chunk back."""
    chunk = int(c.first_chunk)
    c.first_chunk = table.chunks[chunk].next
    give(table.state[0], CHUNKS, table.chunks, chunk)


@inline
def emit_past_blocks(table: Table, out: Output, c: Any) -> None:
    """Write a record of each block that a later one has followed."""
    while table.chunks[c.first_chunk].base != c.block_start:
        _emit_block(table, out, c, _BLOCK)


@inline
def _emit_heads(table: Table, out: Output, c: Any, row: Any) -> None:
    """Add a connection's heads to a record, and give them back."""
    while c.first_head >= 0:
        source = int(c.first_head)
        target = out.used[2]
        for byte in range(out.head_bytes.shape[1]):
            out.head_bytes[target, byte] = table.head_bytes[source, byte]
        out.heads[target].length = table.heads[source].length
        out.heads[target].l4 = table.heads[source].l4
        out.used[2] += 1
        row.heads += 1
        drop_head(table, c)


@inline
def drop_head(table: Table, c: Any) -> None:
    """Give a connection's first head back."""
    head = int(c.first_head)
    c.first_head = table.heads[head].next
    give(table.state[0], HEADS, table.heads, head)


@inner
def emit_early(table: Table, out: Output, c: Any) -> None:
    """Write a connection's early record, and give its heads back."""
    c.early = 1
    row = _emit_row(out, c, _EARLY, c.start)
    source = int(c.first_head)
    while source >= 0:
        head = table.heads[source]
        _emit_sample(out, row, c, head.sample | (_offset(head.time - c.start) << 33))
        source = int(table.heads[source].next)
    _emit_heads(table, out, c, row)


@inline
def emit_final(table: Table, out: Output, c: Any) -> None:
    """Write what a connection that ends still has to report."""
    emit_past_blocks(table, out, c)
    row = _emit_block(table, out, c, _FINAL)
    _emit_heads(table, out, c, row)
