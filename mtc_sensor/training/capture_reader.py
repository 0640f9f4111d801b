"""Captures as records, and with the application that nDPI finds in each connection as its label."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.capture.records import CaptureFile
from mtc_sensor.errors import CaptureError, DataError
from mtc_sensor.flow import FlowBatch
from mtc_sensor.training.flow_records import Part
from mtc_sensor.wire.values import map_address, unmap_address

UNKNOWN = "Unknown"
"""What nDPI calls an application that it does not know, and we one that it has not seen."""

_ICMP = (1, 58)
"""Protocols whose ports are not nDPI's."""

Key: TypeAlias = tuple[int, frozenset[tuple[bytes, int]]]
"""Protocol and the two ends of a connection."""


class _Found(NamedTuple):
    """nDPI's flows of one key, by when they began."""

    start_us: list[int]
    application: list[str]


def read_capture(path: Path, settings: FlowSettings, dropped: Counter[str]) -> Iterator[Part]:
    """Read a pcap or pcapng, plain or compressed; of a damaged one what is before the damage."""
    capture = CaptureFile(path, settings)
    try:
        for flows in capture:
            yield flows, None
    finally:
        dropped.update({name: count for name, count in capture.counts.dropped.items() if count})


def read_applications(path: Path, settings: FlowSettings, dropped: Counter[str]) -> Iterator[Part]:
    """Read a capture and label its records with the names of applications.

    nDPI, through nfstream, sees the capture by itself: it has to be plain pcap or pcapng. A
    connection's record has the application of the flow that began last before it.

    Raises
    ------
    DataError
        nfstream is missing.
    CaptureError
        It cannot read the capture.
    """
    found = _applications(path)
    for flows, _ in read_capture(path, settings, dropped):
        yield flows, np.array([_application(found, key, at) for key, at in _keys(flows)], np.str_)


def _applications(path: Path) -> dict[Key, _Found]:
    try:
        from nfstream import NFStreamer  # noqa: PLC0415 - an extra
    except ImportError as fault:
        raise DataError(
            "labelling applications needs nfstream: pip install 'mtc-sensor[apps]'"
        ) from fault
    seen: dict[Key, list[tuple[int, str]]] = defaultdict(list)
    try:
        for flow in NFStreamer(source=str(path), n_meters=1, active_timeout=1 << 30):
            at = int(flow.bidirectional_first_seen_ms) * 1000
            seen[_key(flow)].append((at, str(flow.application_name) or UNKNOWN))
    except (ValueError, OSError) as fault:
        raise CaptureError(f"{path}: nDPI cannot read it: {fault}; give plain pcap") from fault
    return {key: _Found(*map(list, zip(*sorted(each), strict=True))) for key, each in seen.items()}


def _key(flow: Any) -> Key:
    source, destination = (
        map_address(unmap_address(ip_address(host))) for host in (flow.src_ip, flow.dst_ip)
    )
    return _unordered(int(flow.protocol), source, destination, flow.src_port, flow.dst_port)


def _unordered(proto: int, orig_h: bytes, resp_h: bytes, orig_p: int, resp_p: int) -> Key:
    ports = (0, 0) if proto in _ICMP else (orig_p, resp_p)
    return proto, frozenset(zip((orig_h, resp_h), ports, strict=True))


def _keys(flows: FlowBatch) -> Iterator[tuple[Key, int]]:
    columns = (flows.proto, flows.orig_p, flows.resp_p, flows.start_us)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    for row, (proto, orig_p, resp_p, start_us) in enumerate(rows):
        orig_h, resp_h = flows.orig_h[row].tobytes(), flows.resp_h[row].tobytes()
        yield _unordered(proto, orig_h, resp_h, orig_p, resp_p), start_us


def _application(found: dict[Key, _Found], key: Key, start_us: int) -> str:
    known = found.get(key)
    if known is None:
        return UNKNOWN
    return known.application[max(bisect_right(known.start_us, start_us) - 1, 0)]
