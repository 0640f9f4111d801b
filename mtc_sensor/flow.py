"""The one record of the project: `FlowBatch`, many flow records as columns.

Both sources (Zeek over a transport, packets through `mtc_sensor.capture`) produce it, and nothing
downstream knows which. Ragged columns are stored as values and offsets: row ``i`` owns
``values[offsets[i]:offsets[i + 1]]``.

The packed sample, one unsigned 64-bit count per packet::

    bits 63..33  offset   31 bits  microseconds since the record's first packet (saturates, ~35 min)
    bit  32      dir       1 bit   0 originator->responder, 1 responder->originator
    bits 31..16  ip_len   16 bits  IP total length, bytes (IPv6: 40 + payload length), saturates
    bits 15..0   payload  16 bits  transport payload bytes (0 without TCP/UDP payload), saturates
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_OFFSET_US = (1 << 31) - 1
MAX_LENGTH = (1 << 16) - 1

_OFFSET_SHIFT = np.uint64(33)
_DIR_SHIFT = np.uint64(32)
_LENGTH_SHIFT = np.uint64(16)
_LENGTH_MASK = np.uint64(MAX_LENGTH)

IPV4_MAPPED_PREFIX = bytes(10) + b"\xff\xff"
"""First 12 of 16 address bytes of an IPv4 address (RFC 4291, 2.5.5.2), as Zeek stores it."""
_IPV4_TRANSLATED_PREFIX = bytes(8) + b"\xff\xff\0\0"


class Kind(IntEnum):
    """Why a record was made; a connection has at most one early, any blocks, one final."""

    EARLY = 0
    BLOCK = 1
    FINAL = 2


class Samples(NamedTuple):
    """Packed samples taken apart; four arrays of one shape."""

    offset_us: NDArray[np.int64]
    responder: NDArray[np.bool_]
    ip_len: NDArray[np.uint16]
    payload: NDArray[np.uint16]


def pack_samples(
    offset_us: ArrayLike, responder: ArrayLike, ip_len: ArrayLike, payload: ArrayLike
) -> NDArray[np.uint64]:
    """Pack packets into 64-bit samples.

    Parameters are arrays (or scalars) of one shape; offsets in microseconds, lengths in bytes.
    Values past a field's range saturate, negative ones become 0.
    """
    offset = np.clip(np.asarray(offset_us, np.int64), 0, MAX_OFFSET_US).astype(np.uint64)
    lengths = [
        np.clip(np.asarray(v, np.int64), 0, MAX_LENGTH).astype(np.uint64) for v in (ip_len, payload)
    ]
    direction = np.asarray(responder, np.bool_).astype(np.uint64)
    packed: NDArray[np.uint64] = (
        (offset << _OFFSET_SHIFT)
        | (direction << _DIR_SHIFT)
        | (lengths[0] << _LENGTH_SHIFT)
        | lengths[1]
    )
    return packed


def unpack_samples(samples: NDArray[np.uint64]) -> Samples:
    """Take packed samples apart; the inverse of `pack_samples` within the fields' ranges."""
    return Samples(
        offset_us=(samples >> _OFFSET_SHIFT).astype(np.int64),
        responder=((samples >> _DIR_SHIFT) & np.uint64(1)).astype(np.bool_),
        ip_len=((samples >> _LENGTH_SHIFT) & _LENGTH_MASK).astype(np.uint16),
        payload=(samples & _LENGTH_MASK).astype(np.uint16),
    )


def take_ragged(
    offsets: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the values of `rows`, in their order, and the offsets of the result."""
    begins = offsets[rows]
    lengths = offsets[rows + 1] - begins
    taken = np.zeros(len(rows) + 1, np.int64)
    lengths.cumsum(out=taken[1:])
    positions = np.arange(taken[-1], dtype=np.int64)
    positions += (begins - taken[:-1]).repeat(lengths)
    return positions, taken


@dataclass(frozen=True, eq=False)
class FlowBatch:
    """Flow records as columns; ``n`` rows, ``m`` samples, ``k`` packet heads of ``w`` bytes."""

    uid: NDArray[np.bytes_]
    """(n,) S24: the connection's uid; the same in all its records."""
    kind: NDArray[np.uint8]
    """(n,) a `Kind`."""
    proto: NDArray[np.uint8]
    """(n,) IP protocol number: 1, 6, 17 or 58."""
    orig_h: NDArray[np.uint8]
    """(n, 16) originator's address, network order, IPv4 as ::ffff:a.b.c.d."""
    resp_h: NDArray[np.uint8]
    """(n, 16) responder's address."""
    orig_p: NDArray[np.uint16]
    """(n,) originator's port (ICMP: what Zeek puts there, the type)."""
    resp_p: NDArray[np.uint16]
    """(n,) responder's port (ICMP: the counterpart's type, or the code)."""
    start_us: NDArray[np.int64]
    """(n,) time of the record's first packet, microseconds since the epoch."""
    samples: NDArray[np.uint64]
    """(m,) packed samples, row after row."""
    sample_offsets: NDArray[np.int64]
    """(n + 1,) where each row's samples begin."""
    head: NDArray[np.uint8]
    """(k, w) first bytes of the connection's first packets from the IP header on, zero-padded."""
    head_len: NDArray[np.uint16]
    """(k,) how many bytes of a head row were captured."""
    head_l4: NDArray[np.uint16]
    """(k,) where in the head row the transport header begins; 0 where there is none."""
    head_offsets: NDArray[np.int64]
    """(n + 1,) where each row's heads begin; a record without heads has none."""
    tokens: NDArray[np.uint8]
    """(t,) printable ASCII: words that describe the connection, separated by spaces."""
    token_offsets: NDArray[np.int64]
    """(n + 1,) where each row's tokens begin."""

    def __len__(self) -> int:
        return len(self.uid)

    @classmethod
    def empty(cls, head_bytes: int = 80) -> FlowBatch:
        """Return a batch of no rows whose heads are `head_bytes` wide."""
        return cls(
            uid=np.empty(0, "S24"),
            kind=np.empty(0, np.uint8),
            proto=np.empty(0, np.uint8),
            orig_h=np.empty((0, 16), np.uint8),
            resp_h=np.empty((0, 16), np.uint8),
            orig_p=np.empty(0, np.uint16),
            resp_p=np.empty(0, np.uint16),
            start_us=np.empty(0, np.int64),
            samples=np.empty(0, np.uint64),
            sample_offsets=np.zeros(1, np.int64),
            head=np.empty((0, head_bytes), np.uint8),
            head_len=np.empty(0, np.uint16),
            head_l4=np.empty(0, np.uint16),
            head_offsets=np.zeros(1, np.int64),
            tokens=np.empty(0, np.uint8),
            token_offsets=np.zeros(1, np.int64),
        )

    @classmethod
    def concat(cls, batches: Sequence[FlowBatch]) -> FlowBatch:
        """Join batches of one head width, in order. Raises ValueError for no batches."""
        if not batches:
            raise ValueError("nothing to join")
        if len(batches) == 1:
            return batches[0]
        columns: dict[str, NDArray[np.generic]] = {}
        for field in fields(cls):
            parts = [getattr(batch, field.name) for batch in batches]
            join = join_offsets if field.name.endswith("_offsets") else np.concatenate
            columns[field.name] = join(parts)
        return cls(**columns)  # type: ignore[arg-type]

    def take(self, rows: ArrayLike) -> FlowBatch:
        """Return the rows that `rows` (indices or a boolean mask) names, in that order."""
        index = np.asarray(rows)
        index = np.flatnonzero(index) if index.dtype == np.bool_ else index.astype(np.int64)
        samples, sample_offsets = take_ragged(self.sample_offsets, index)
        heads, head_offsets = take_ragged(self.head_offsets, index)
        tokens, token_offsets = take_ragged(self.token_offsets, index)
        return FlowBatch(
            **{name: getattr(self, name)[index] for name in _ROW_COLUMNS},
            samples=self.samples[samples],
            sample_offsets=sample_offsets,
            head=self.head[heads],
            head_len=self.head_len[heads],
            head_l4=self.head_l4[heads],
            head_offsets=head_offsets,
            tokens=self.tokens[tokens],
            token_offsets=token_offsets,
        )

    def documents(self) -> list[str]:
        """Return the n token documents."""
        raw, ends = self.tokens.tobytes(), self.token_offsets.tolist()
        return [raw[begin:end].decode("ascii", "replace") for begin, end in pairwise(ends)]

    def with_documents(self, documents: Sequence[str]) -> FlowBatch:
        """Return the batch with n other token documents; what is not ASCII becomes ``?``."""
        raw = [document.encode("ascii", "replace") for document in documents]
        return replace(
            self,
            tokens=np.frombuffer(b"".join(raw), np.uint8),
            token_offsets=np.cumsum([0, *map(len, raw)], dtype=np.int64),
        )

    @property
    def packets(self) -> NDArray[np.int64]:
        """(n,) samples per record."""
        return self.sample_offsets[1:] - self.sample_offsets[:-1]

    @property
    def heads(self) -> NDArray[np.int64]:
        """(n,) packet heads per record."""
        return self.head_offsets[1:] - self.head_offsets[:-1]

    def sample_rows(self) -> NDArray[np.int64]:
        """(m,) the row that each sample belongs to."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.packets)

    def head_rows(self) -> NDArray[np.int64]:
        """(k,) the row that each head belongs to."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.heads)

    def last_us(self) -> NDArray[np.int64]:
        """(n,) time of each record's last sample, microseconds since the epoch."""
        last = np.maximum(self.sample_offsets[1:] - 1, 0)
        offset = (self.samples[last] >> _OFFSET_SHIFT).astype(np.int64) if len(self.samples) else 0
        return np.where(self.packets > 0, self.start_us + offset, self.start_us)


_ROW_COLUMNS = ("uid", "kind", "proto", "orig_h", "resp_h", "orig_p", "resp_p", "start_us")


def join_offsets(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the offsets of values that are joined, from those of each part."""
    ends = np.cumsum([0] + [part[-1] for part in parts])
    shifted = [part[1:] + end for part, end in zip(parts, ends, strict=False)]
    return np.concatenate([np.zeros(1, np.int64), *shifted])


def address_text(address: NDArray[np.uint8]) -> str:
    """Write one (16,) address as Zeek does: dotted quad for IPv4, RFC 5952 for IPv6.

    IPv4-compatible and IPv4-translated addresses end in a dotted quad (zeek_inet_ntop.c).
    """
    return _address_text(address.tobytes())


def address_texts(addresses: NDArray[np.uint8]) -> list[str]:
    """Write (n, 16) addresses as Zeek does; each distinct one is worked out once."""
    raw = addresses.tobytes()
    values = [raw[i : i + 16] for i in range(0, len(raw), 16)]
    texts = {value: _address_text(value) for value in set(values)}
    return [texts[value] for value in values]


def is_ipv4(addresses: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return (n,) which of (n, 16) addresses are IPv4's."""
    prefix = np.frombuffer(IPV4_MAPPED_PREFIX, np.uint8)
    same: NDArray[np.bool_] = (addresses[:, : len(prefix)] == prefix).all(1)
    return same


def _address_text(raw: bytes) -> str:
    if raw.startswith(IPV4_MAPPED_PREFIX):
        return socket.inet_ntop(socket.AF_INET, raw[12:])
    if raw.startswith(_IPV4_TRANSLATED_PREFIX):
        return f"::ffff:0:{socket.inet_ntop(socket.AF_INET, raw[12:])}"
    return socket.inet_ntop(socket.AF_INET6, raw)
