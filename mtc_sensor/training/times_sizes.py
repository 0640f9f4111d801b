"""Data sets of times and sizes without packets, as the flow records that `capture` would make.

Each reader yields records with the label that the file gives each, or `None` where the manifest
says it. Sizes that a format does not have are made from those that it has, with the commonest
headers: IPv6 and UDP for UC Davis' QUIC, IPv4 and TCP for the others.
"""

from __future__ import annotations

import csv
import gzip
import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address, ip_address
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.errors import CaptureError
from mtc_sensor.flow import IPV4_MAPPED_PREFIX, FlowBatch, Kind, pack_samples

Part: TypeAlias = tuple[FlowBatch, NDArray[np.str_] | None]
"""Records, and (n,) their labels where the file itself has them."""

_ETHERNET, _IPV4, _IPV6, _TCP_HEADER, _UDP_HEADER = 14, 20, 40, 20, 8
_TCP, _UDP = 6, 17
_FLOWS_AT_ONCE = 4096
_MAX_LINE = 1 << 24
_MAX_ARRAYS = 1 << 30
_MAX_NUMBER = 1e11
"""Above all sizes, and all seconds since the epoch."""


class Packets(NamedTuple):
    """Packets of flows, flow by flow and in order; ``m`` of them."""

    flow: NDArray[np.int64]
    """(m,) number of the flow, from 0 on."""
    time_us: NDArray[np.int64]
    """(m,) microseconds since the flow's first packet."""
    responder: NDArray[np.bool_]
    """(m,) sent by the responder."""
    ip_len: NDArray[np.int64]
    """(m,) bytes from the IP header on."""
    payload: NDArray[np.int64]
    """(m,) bytes."""

    def take(self, rows: NDArray[Any]) -> Packets:
        """Return the packets that `rows` (indices or a boolean mask) names."""
        return Packets(
            self.flow[rows], self.time_us[rows], self.responder[rows],
            self.ip_len[rows], self.payload[rows],
        )  # fmt: skip


class Ends(NamedTuple):
    """Whose flows they are; ``f`` of them."""

    proto: NDArray[np.uint8]
    orig_h: NDArray[np.uint8]
    """(f, 16)"""
    orig_p: NDArray[np.uint16]
    resp_h: NDArray[np.uint8]
    """(f, 16)"""
    resp_p: NDArray[np.uint16]
    start_us: NDArray[np.int64]
    """(f,) time of the first packet."""

    @classmethod
    def unknown(cls, flows: int, start_us: NDArray[np.int64] | None = None) -> Ends:
        """Make those of flows whose source tells nothing of them."""
        ports, hosts = np.zeros(flows, np.uint16), np.zeros((flows, 16), np.uint8)
        start = np.zeros(flows, np.int64) if start_us is None else start_us
        return cls(np.zeros(flows, np.uint8), hosts, ports, hosts, ports, start)

    @classmethod
    def of(cls, rows: list[tuple[int, str, int, str, int, int]]) -> Ends:
        """Make them of a row for each flow: what the columns are called, with text addresses."""
        proto, orig_h, orig_p, resp_h, resp_p, start = zip(*rows, strict=True)
        return cls(
            np.array(proto, np.uint8), _addresses(orig_h), np.array(orig_p, np.uint16),
            _addresses(resp_h), np.array(resp_p, np.uint16), np.array(start, np.int64),
        )  # fmt: skip


def records(packets: Packets, ends: Ends, settings: FlowSettings) -> FlowBatch:
    """Cut flows into blocks as `capture` does; every block is a `Kind.FINAL` record.

    Flows with fewer than `min_packets` give none.
    """
    enough = np.bincount(packets.flow, minlength=1) >= settings.min_packets
    packets = packets.take(enough[packets.flow])
    block = packets.time_us // round(settings.block_s * 1e6)
    key = packets.flow * (int(block.max(initial=0)) + 1) + block
    _, first, record, sizes = np.unique(
        key, return_index=True, return_inverse=True, return_counts=True
    )
    kept = np.arange(len(key)) - first[record] < settings.max_samples
    begin = packets.time_us[first]
    samples = pack_samples(
        packets.time_us - begin[record], packets.responder, packets.ip_len, packets.payload
    )[kept]
    sizes = np.minimum(sizes, settings.max_samples)
    return _batch(samples, sizes, packets.flow[first], begin, ends, settings)


def _batch(
    samples: NDArray[np.uint64],
    sizes: NDArray[np.int64],
    flow: NDArray[np.int64],
    begin: NDArray[np.int64],
    ends: Ends,
    settings: FlowSettings,
) -> FlowBatch:
    count = len(sizes)
    return FlowBatch(
        uid=np.char.add(b"F", flow.astype("S23")).astype("S24"),
        kind=np.full(count, Kind.FINAL, np.uint8),
        proto=ends.proto[flow],
        orig_h=ends.orig_h[flow],
        resp_h=ends.resp_h[flow],
        orig_p=ends.orig_p[flow],
        resp_p=ends.resp_p[flow],
        start_us=ends.start_us[flow] + begin,
        samples=samples,
        sample_offsets=np.concatenate(([0], np.cumsum(sizes))).astype(np.int64),
        head=np.empty((0, settings.head_bytes), np.uint8),
        head_len=np.empty(0, np.uint16),
        head_l4=np.empty(0, np.uint16),
        head_offsets=np.zeros(count + 1, np.int64),
        tokens=np.empty(0, np.uint8),
        token_offsets=np.zeros(count + 1, np.int64),
    )


def read_joy(path: Path, settings: FlowSettings) -> Iterator[Part]:
    """Read Cisco joy's JSON lines: up to 50 packets with payload of either direction per flow."""
    numbered = enumerate(text_lines(path), 1)
    while chunk := list(islice(numbered, _FLOWS_AT_ONCE)):
        flows = [flow for number, line in chunk if (flow := _joy_flow(path, number, line))]
        if flows:
            ends = Ends.of([end for end, *_ in flows])
            time, responder, payload = zip(*(columns for _, *columns in flows), strict=True)
            packets = _joined(time, responder, payload, ends.proto)
            yield records(packets, ends, settings), None


def _joy_flow(path: Path, number: int, line: str) -> tuple[Any, ...] | None:
    """Return ends, times, directions and payloads; None for a line without packets."""
    try:
        flow = json.loads(line)
        packets = flow.get("packets")
        if not packets:
            return None
        start = round(float(flow["time_start"]) * 1e6)
        ends = flow["pr"], flow["sa"], flow.get("sp") or 0, flow["da"], flow.get("dp") or 0, start
        time = np.cumsum(np.array([packet["ipt"] for packet in packets], np.int64)) * 1000
        responder = np.array([packet["dir"] == "<" for packet in packets])
        payload = np.array([packet["b"] for packet in packets], np.int64)
        Ends.of([ends])  # whatever is no address or out of range shows here
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as fault:
        raise CaptureError(
            f"{path}: line {number}: not a flow as joy writes it: {fault!r:.200}"
        ) from fault
    return ends, time, responder, payload


def _joined(
    time: Iterable[NDArray[Any]],
    responder: Iterable[NDArray[Any]],
    payload: Iterable[NDArray[Any]],
    proto: NDArray[np.uint8],
) -> Packets:
    times = list(time)
    flow = np.repeat(np.arange(len(times)), [len(part) for part in times])
    header = np.where(proto == _TCP, _TCP_HEADER, _UDP_HEADER)[flow] + _IPV4
    size = np.concatenate(list(payload)).astype(np.int64)
    sent_back = np.concatenate(list(responder))
    return Packets(flow, np.concatenate(times).astype(np.int64), sent_back, size + header, size)


def read_arrays(path: Path, settings: FlowSettings) -> Iterator[Part]:
    """Read flows of the UC Davis QUIC set: sizes of Ethernet frames, negative by the originator.

    Arrays ``off``, ``t``, ``size`` and ``start``. Most frames are IPv6 (1412 = 14 + 40 + 8 + 1350):
    taken so, payloads of IPv4 are 20 bytes short.
    """
    off, t, size, start = load_arrays(path, ("off", "t", "size", "start"))
    off = off.astype(np.int64)
    lengths = off - np.append(0, off[:-1])
    if any(column.ndim != 1 for column in (off, t, size, start)) or (
        not len(t) == len(size) == lengths.sum()
        or len(lengths) != len(start) + 1
        or lengths[0] != 0
        or (lengths < 0).any()
    ):
        raise CaptureError(f"{path}: its arrays off, t, size and start do not fit together")
    flow = np.repeat(np.arange(len(start)), lengths[1:])
    ip_len = np.maximum(np.abs(size.astype(np.int64)) - _ETHERNET, 0)
    payload = np.maximum(ip_len - _IPV6 - _UDP_HEADER, 0)
    packets = Packets(flow, _microseconds(t), size > 0, ip_len, payload)
    ends = Ends.unknown(len(start), _microseconds(start))
    yield records(packets, ends._replace(proto=np.full(len(start), _UDP, np.uint8)), settings), None


def read_signed_sizes(path: Path, settings: FlowSettings) -> Iterator[Part]:
    """Read CSV rows flow, arrival_ms, signed_size: IP lengths, negative by the flow's source.

    A flow's rows follow each other; its name is number_source_port_destination_port_protocol.
    """
    rows = csv.DictReader(text_lines(path))
    name, time, size = [], [], []
    try:
        for row in rows:
            name.append(row["flow"])
            time.append(int(row["arrival_ms"]) * 1000)
            size.append(int(row["signed_size"]))
        known, first, flow = np.unique(name, return_index=True, return_inverse=True)
        begin, signed = np.array(time, np.int64), np.array(size, np.int64)
        parts = [text.split("_") for text in known.tolist()]
        ends = Ends.of(
            [
                (_TCP if proto == "TCP" else _UDP, source, int(sport), dest, int(dport), at)
                for (_, source, sport, dest, dport, proto), at in zip(
                    parts, begin[first].tolist(), strict=True
                )
            ]
        )
    except (ValueError, TypeError, KeyError, OverflowError) as fault:
        raise CaptureError(
            f"{path}: line {rows.line_num}: not flow, arrival_ms, signed_size: {fault!r:.200}"
        ) from fault
    header = np.where(ends.proto == _TCP, _TCP_HEADER, _UDP_HEADER)[flow] + _IPV4
    ip_len = np.abs(signed)
    payload = np.maximum(ip_len - header, 0)
    packets = Packets(flow, begin - begin[first][flow], signed > 0, ip_len, payload)
    order = np.argsort(flow, kind="stable")
    yield records(packets.take(order), ends, settings), None


def read_ode(path: Path, settings: FlowSettings) -> Iterator[Part]:
    """Read ODE-Flow's (n, 2, 20): IP lengths and times of the first packets; classes beside it."""
    (x,), (y,) = load_arrays(path), load_arrays(beside(path))
    if x.ndim != 3 or x.shape[1] != 2 or y.shape != x.shape[:1]:
        raise CaptureError(f"{path}: not (n, 2, packets) with one class each in {beside(path)}")
    flow, packet = np.nonzero(x[:, 0] > 0)
    ip_len = x[flow, 0, packet].astype(np.int64)
    time = _microseconds(x[flow, 1, packet] - x[flow, 1, 0])
    payload = np.maximum(ip_len - _IPV4 - _TCP_HEADER, 0)
    direction = np.zeros(len(flow), np.bool_)
    batch = records(Packets(flow, time, direction, ip_len, payload), Ends.unknown(len(x)), settings)
    yield batch, y.astype(np.int64).astype(np.str_)[np.char.lstrip(batch.uid, b"F").astype(int)]


def beside(path: Path) -> Path:
    """Return the file with the labels of one whose name has an x: ``y_train.npy``."""
    name = path.name.replace("x_", "y_", 1) if "x_" in path.name else path.name.replace("_X", "_y")
    return path.with_name(name)


def load_arrays(path: Path, names: tuple[str, ...] = ()) -> list[NDArray[Any]]:
    """Read an .npy, or named arrays of an .npz. Raises CaptureError."""
    try:
        if not names:
            return [_numbers(np.load(path, allow_pickle=False, mmap_mode="r"))]
        with zipfile.ZipFile(path) as members:
            if sum(member.file_size for member in members.infolist()) > _MAX_ARRAYS:
                raise CaptureError(f"{path}: arrays of more than {_MAX_ARRAYS >> 30} GiB: split it")
        with np.load(path, allow_pickle=False) as arrays:
            return [_numbers(arrays[name]) for name in names]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as fault:
        raise CaptureError(f"{path}: no arrays {', '.join(names)}: {fault}") from fault


def _numbers(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array. Raises ValueError if it holds anything but sane numbers."""
    if array.dtype.kind not in "iuf" or not (np.abs(array) < _MAX_NUMBER).all():
        raise ValueError(f"{array.dtype} with values that are no sizes or times")
    return array


def text_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text file, plain or compressed with gzip. Raises CaptureError."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            while line := file.readline(_MAX_LINE + 1):
                if len(line) > _MAX_LINE:
                    raise CaptureError(f"{path}: a line of more than {_MAX_LINE >> 20} MiB")
                yield line.decode("utf-8", "replace")
    except (OSError, EOFError, zlib.error) as fault:
        raise CaptureError(f"{path}: cannot be read to its end: {fault}") from fault


def _microseconds(seconds: NDArray[Any]) -> NDArray[np.int64]:
    return np.round(seconds.astype(np.float64) * 1e6).astype(np.int64)


def _addresses(texts: Iterable[str]) -> NDArray[np.uint8]:
    raw = [_address(text) for text in texts]
    return np.frombuffer(b"".join(raw), np.uint8).reshape(-1, 16)


def _address(text: str) -> bytes:
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        return address.packed
    return IPV4_MAPPED_PREFIX + address.packed
