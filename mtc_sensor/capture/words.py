"""Token documents without Zeek: what `zeek-scripts/tls.zeek` says of ports and TLS hellos.

Zeek's documents have more words (of services, DNS, files, certificates and weirds); a model counts
those that it was trained on. A hello is put together from the segments of its first TLS record, in
whatever order they come. A record of a connection has the words of packets up to its last one.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.capture.packets import DecodedBatch, PacketBatch
from mtc_sensor.capture.tls import CLIENT_HELLO, HANDSHAKE, SERVER_HELLO, hello_words
from mtc_sensor.flow import FlowBatch, Kind, is_ipv4

MAX_WORDS = 256
"""Words of a connection, as many as Zeek's script keeps."""
_MAX_CONNECTIONS, _MAX_PENDING = 1 << 16, 1 << 10
_PENDING_US = 5_000_000
_RECORD_HEADER, _MAX_RECORD = 5, 1 << 14
_TCP = 6
_TRANSPORTS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp"}

Key = bytes
"""Address and port of one end, then of the other."""


@dataclass(frozen=True, eq=False)
class _Segments:
    """TCP segments with payload; ``s`` of them."""

    data: NDArray[np.uint8]
    sender: NDArray[np.void]
    """(s,) V36: source, then destination."""
    ts_us: NDArray[np.int64]
    seq: NDArray[np.uint32]
    start: NDArray[np.int64]
    """(s,) where in `data` the payload begins."""
    length: NDArray[np.int64]
    """(s,) captured bytes of it."""
    cut: NDArray[np.bool_]
    """(s,) less was captured than sent."""


@dataclass(eq=False)
class _Hello:
    """A hello of which segments are missing."""

    ts_us: int
    seq: int
    data: bytearray
    there: NDArray[np.bool_]
    """One for each byte of `data`."""


class WordTable:
    """Collects words of connections from their packets, and gives them to their records.

    Memory is bounded: the least recent connections and unfinished hellos are forgotten.
    """

    def __init__(self) -> None:
        self._pending: OrderedDict[Key, _Hello] = OrderedDict()
        self._words: OrderedDict[Key, list[tuple[int, list[str]]]] = OrderedDict()

    def collect(self, packets: PacketBatch, decoded: DecodedBatch) -> None:
        """Take in a batch of packets."""
        segments = _segments(packets, decoded)
        for sender, hello in list(self._pending.items()):
            self._continue(sender, hello, segments)
        for row in np.flatnonzero(_begins_hello(segments)).tolist():
            self._begin(segments, row)

    def describe(self, records: FlowBatch) -> FlowBatch:
        """Return records with their token documents."""
        if not len(records):
            return records
        keys = [_unordered(key) for key in _ends(records).tolist()]
        ends = zip(keys, records.kind.tolist(), records.last_us().tolist(), strict=True)
        hellos = [self._of(key, kind, last) for key, kind, last in ends]
        pairs = zip(_facts(records), hellos, strict=True)
        return records.with_documents([" ".join([facts, *words]) for facts, words in pairs])

    def _begin(self, segments: _Segments, row: int) -> None:
        start, length = int(segments.start[row]), int(segments.length[row])
        record = segments.data[start : start + length].tobytes()
        size = _RECORD_HEADER + int.from_bytes(record[3:5], "big")
        sender, ts = segments.sender[row].tobytes(), int(segments.ts_us[row])
        if size <= length:
            self._add(sender, ts, record[:size])
        elif size <= _MAX_RECORD and not segments.cut[row] and sender not in self._pending:
            hello = _Hello(ts, int(segments.seq[row]), bytearray(size), np.zeros(size, np.bool_))
            self._pending[sender] = hello
            if len(self._pending) > _MAX_PENDING:
                self._pending.popitem(last=False)
            self._continue(sender, hello, segments)

    def _continue(self, sender: Key, hello: _Hello, segments: _Segments) -> None:
        """Add the segments that belong to a hello; those of other bytes do no harm."""
        size = len(hello.data)
        own = segments.sender == np.void(sender)
        at = (segments.seq - np.uint32(hello.seq)).astype(np.int64)
        for row in np.flatnonzero(own & (at < size)).tolist():
            begin, end = int(at[row]), min(int(at[row] + segments.length[row]), size)
            start = int(segments.start[row])
            hello.data[begin:end] = segments.data[start : start + end - begin].tobytes()
            hello.there[begin:end] = True
            if hello.there.all():
                self._add(sender, int(segments.ts_us[row]), bytes(hello.data))
                self._pending.pop(sender)
                return
        latest = int(segments.ts_us.max(initial=hello.ts_us))
        if latest - hello.ts_us > _PENDING_US:
            self._pending.pop(sender)

    def _add(self, sender: Key, ts: int, record: bytes) -> None:
        words = hello_words(record)
        if not words:
            return
        key = _unordered(sender)
        known = self._words.setdefault(key, [])
        self._words.move_to_end(key)
        room = MAX_WORDS - sum(len(part) for _, part in known)
        known.append((ts, words[:room]))
        if len(self._words) > _MAX_CONNECTIONS:
            self._words.popitem(last=False)

    def _of(self, key: Key, kind: int, last_us: int) -> list[str]:
        known = self._words.get(key)
        if known is None:
            return []
        end = last_us + 1
        words = [word for ts, part in known if ts < end for word in part]
        if kind == Kind.FINAL:
            self._words[key] = [(ts, part) for ts, part in known if ts >= end]
            if not self._words[key]:
                del self._words[key]
        return words


def _segments(packets: PacketBatch, decoded: DecodedBatch) -> _Segments:
    l4 = decoded.ip_offset + decoded.l4_offset
    captured = decoded.ip_captured - decoded.l4_offset
    tcp = (decoded.proto == _TCP) & (decoded.payload > 0) & (decoded.l4_offset > 0)
    rows = np.flatnonzero(tcp & (captured > 20))
    header = (packets.data[l4[rows] + 12] >> 4).astype(np.int64) * 4
    length = np.maximum(captured[rows] - header, 0)
    parts = [decoded.src[rows], _big(decoded.sport[rows])]
    parts += [decoded.dst[rows], _big(decoded.dport[rows])]
    return _Segments(
        data=packets.data,
        sender=_void(parts),
        ts_us=decoded.ts_us[rows],
        seq=decoded.tcp_seq[rows],
        start=l4[rows] + header,
        length=length,
        cut=length < decoded.payload[rows],
    )


def _begins_hello(segments: _Segments) -> NDArray[np.bool_]:
    """Tell which segments begin with a TLS record that begins with a hello."""
    long_enough = segments.length > _RECORD_HEADER
    at = np.where(long_enough, segments.start, 0)
    if not len(at):
        return long_enough
    first, major, kind = (segments.data[at + i * long_enough] for i in (0, 1, 5))
    is_hello = (kind == CLIENT_HELLO) | (kind == SERVER_HELLO)
    found: NDArray[np.bool_] = long_enough & (first == HANDSHAKE) & (major == 3) & is_hello
    return found


def _big(ports: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return ports.astype(">u2").view(np.uint8).reshape(-1, 2)


def _void(parts: list[NDArray[np.uint8]]) -> NDArray[np.void]:
    return np.ascontiguousarray(np.column_stack(parts)).view("V36").reshape(-1)


def _ends(records: FlowBatch) -> NDArray[np.void]:
    """(n,) V36: originator, then responder."""
    return _void([records.orig_h, _big(records.orig_p), records.resp_h, _big(records.resp_p)])


def _unordered(key: Key) -> Key:
    """Return one key for both directions."""
    return min(key, key[18:] + key[:18])


def _facts(records: FlowBatch) -> list[str]:
    version = np.where(is_ipv4(records.orig_h), 4, 6).tolist()
    ports = map(port_class, records.resp_p.tolist())
    rows = zip(version, records.proto.tolist(), ports, strict=True)
    return [f"ip:{v} transport:{_TRANSPORTS[proto]} port:{port}" for v, proto, port in rows]


def port_class(number: int) -> str:
    """Return the word of a port."""
    return str(number) if number < 1024 else "registered" if number < 49152 else "dynamic"
