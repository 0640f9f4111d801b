"""Data sets of times and sizes without packets.

Each reader yields records with the label that the file gives each, or `None` where the manifest
says it. Sizes that a format does not have are made from those that it has, with the commonest
headers: IPv6 and UDP for UC Davis' QUIC, IPv4 and TCP for the others.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.errors import CaptureError
from mtc_sensor.training.files import beside, load_arrays, text_lines
from mtc_sensor.training.flow_records import Ends, Packets, Part, records

_ETHERNET, _IPV4, _IPV6, _TCP_HEADER, _UDP_HEADER = 14, 20, 40, 20, 8
_TCP, _UDP = 6, 17
_FLOWS_AT_ONCE = 4096


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


def _microseconds(seconds: NDArray[Any]) -> NDArray[np.int64]:
    return np.round(seconds.astype(np.float64) * 1e6).astype(np.int64)
