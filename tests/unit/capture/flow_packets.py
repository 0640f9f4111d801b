"""Decoded packets from plain values, and flow records as plain values."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.capture.packets import DecodedBatch, PacketBatch
from mtc_sensor.flow import IPV4_MAPPED_PREFIX, FlowBatch, Kind, address_text, unpack_samples

Scalar = TypeVar("Scalar", bound=np.generic)

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
S = 1_000_000


@dataclass(frozen=True)
class Packet:
    """One captured packet; without a protocol it belongs to no connection."""

    ts: int
    src: str = "10.0.0.1"
    sport: int = 40000
    dst: str = "10.0.0.2"
    dport: int = 443
    proto: int = 6
    flags: int = ACK
    seq: int = 1
    ack: int = 1
    payload: int = 0
    ip_len: int = 40
    one_way: bool = False
    message: bytes = b""

    @property
    def captured(self) -> bytes:
        """What was captured from the IP header on; differs from packet to packet."""
        header = f"{self.src}:{self.sport}>{self.dst}:{self.dport}@{self.ts}".encode()[:28]
        return header + self.message if self.message else header[: 20 + self.ts % 7]


class Record(NamedTuple):
    """One flow record; samples are (offset, responder, ip_len, payload), heads (bytes, l4)."""

    kind: Kind
    proto: int
    orig: tuple[str, int]
    resp: tuple[str, int]
    start: int
    samples: list[tuple[int, bool, int, int]]
    heads: list[tuple[bytes, int]]


_LINK = 14
_L4 = 20


def batch(packets: Sequence[Packet]) -> tuple[PacketBatch, DecodedBatch]:
    """Lay packets out as reader and decoder would."""
    frames = [bytes(_LINK) + packet.captured for packet in packets]
    ends = np.cumsum([0] + [len(frame) for frame in frames]).astype(np.int64)
    ts = np.array([packet.ts for packet in packets], np.int64)
    captured = np.diff(ends)
    index = np.array([i for i, p in enumerate(packets) if p.proto], np.int64)
    rows = [packets[i] for i in index]

    def column(name: str, dtype: type[Scalar]) -> NDArray[Scalar]:
        return np.array([getattr(row, name) for row in rows], dtype)

    return (
        PacketBatch(
            data=np.frombuffer(b"".join(frames), np.uint8),
            offset=ends[:-1],
            caplen=captured,
            wirelen=captured,
            ts_us=ts,
            link=np.ones(len(packets), np.int32),
        ),
        DecodedBatch(
            packet=index,
            ts_us=ts[index],
            src=_addresses([row.src for row in rows]),
            dst=_addresses([row.dst for row in rows]),
            sport=column("sport", np.uint16),
            dport=column("dport", np.uint16),
            proto=column("proto", np.uint8),
            one_way=column("one_way", np.bool_),
            ip_len=column("ip_len", np.int64),
            payload=column("payload", np.int64),
            tcp_flags=column("flags", np.uint8),
            tcp_seq=column("seq", np.uint32),
            tcp_ack=column("ack", np.uint32),
            ip_offset=ends[:-1][index] + _LINK,
            ip_captured=captured[index] - _LINK,
            l4_offset=np.full(len(rows), _L4, np.int64),
        ),
    )


def records(flows: FlowBatch) -> list[Record]:
    """Return the rows of a batch as plain values."""
    return [_record(flows, row) for row in range(len(flows))]


def _record(flows: FlowBatch, row: int) -> Record:
    samples = unpack_samples(flows.samples[slice(*flows.sample_offsets[row : row + 2])])
    heads = slice(*flows.head_offsets[row : row + 2])
    assert not any(
        head[length:].any()
        for head, length in zip(flows.head[heads], flows.head_len[heads], strict=True)
    )
    return Record(
        kind=Kind(flows.kind[row]),
        proto=int(flows.proto[row]),
        orig=(address_text(flows.orig_h[row]), int(flows.orig_p[row])),
        resp=(address_text(flows.resp_h[row]), int(flows.resp_p[row])),
        start=int(flows.start_us[row]),
        samples=list(zip(*(column.tolist() for column in samples), strict=True)),
        heads=[
            (head[:length].tobytes(), l4)
            for head, length, l4 in zip(
                flows.head[heads],
                flows.head_len[heads].tolist(),
                flows.head_l4[heads].tolist(),
                strict=True,
            )
        ],
    )


def _addresses(texts: list[str]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(map(_address, texts)), np.uint8).reshape(-1, 16)


@cache
def _address(text: str) -> bytes:
    address = ipaddress.ip_address(text)
    is_v4 = isinstance(address, ipaddress.IPv4Address)
    return IPV4_MAPPED_PREFIX + address.packed if is_v4 else address.packed
