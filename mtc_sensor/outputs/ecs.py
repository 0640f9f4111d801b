"""Verdicts as JSON lines in the Elastic Common Schema (ECS 8.11).

What ECS has no field for is under ``mtc``. Community ID: version 1, seed 0, as
https://github.com/corelight/community-id-spec has it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.flow import IPV4_MAPPED_PREFIX, address_texts
from mtc_sensor.outputs.line_file import LineFile
from mtc_sensor.outputs.notice import NOTE, messages
from mtc_sensor.outputs.zeek_log import verdict_columns
from mtc_sensor.verdict import Verdicts

ECS_VERSION = "8.11.0"

_TRANSPORTS = {1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp"}
_OWN = ("uid", "model", "label", "score", "malicious", "unknown", "kind", "packets", "detail")
_ICMP, _ICMP6 = 1, 58
# ICMP types that have a counterpart, so that both directions are one flow (ICMP.cc in Zeek).
_TWO_WAY = {
    _ICMP: frozenset((0, 8, 9, 10, 13, 14, 15, 16, 17, 18)),
    _ICMP6: frozenset((128, 129, 130, 131, 133, 134, 135, 136, 139, 140, 144, 145)),
}


class EcsLog(LineFile):
    """A file of ECS documents, one per line. Raises OutputError like `LineFile`."""

    def write(self, verdicts: Verdicts) -> None:
        """Append one document per verdict."""
        self.append(ecs_lines(verdicts))


def ecs_lines(verdicts: Verdicts) -> list[str]:
    """Return one ECS document per verdict, without newlines: an alert where it is malicious."""
    columns = verdict_columns(verdicts)
    rows = zip(
        _times(verdicts.ts_us),
        _times(verdicts.start_us),
        _networks(verdicts),
        messages(verdicts),
        verdicts.malicious.tolist(),
        zip(*[_list(columns[name]) for name in _OWN], strict=True),
        strict=True,
    )
    return [_document(*row) for row in rows]


def _document(
    ts: str,
    start: str,
    network: dict[str, Any],
    message: str,
    malicious: bool,
    own: tuple[Any, ...],
) -> str:
    mtc = dict(zip(_OWN, own, strict=True))
    event = {
        "kind": "alert" if malicious else "event",
        "category": ["network", "intrusion_detection"] if malicious else ["network"],
        "type": ["info"],
        "module": "mtc",
        "dataset": "mtc.verdict",
        "start": start,
        "end": ts,
    }
    document = {"@timestamp": ts, "ecs": {"version": ECS_VERSION}, "event": event, **network}
    if malicious:
        event["risk_score"] = round(100 * mtc["score"], 4)
        document |= {"message": message, "rule": {"name": NOTE, "ruleset": mtc["model"]}}
    return json.dumps(document | {"mtc": mtc}, separators=(",", ":"))


def _list(column: Any) -> list[Any]:
    values: list[Any] = column.tolist() if isinstance(column, np.ndarray) else list(column)
    return [v.decode("ascii", "backslashreplace") if isinstance(v, bytes) else v for v in values]


def _times(us: NDArray[np.int64]) -> list[str]:
    times = np.datetime_as_string(us.astype("datetime64[us]"), unit="us", timezone="UTC")
    return [str(time) for time in times]


def _networks(verdicts: Verdicts) -> Iterator[dict[str, Any]]:
    """Source, destination and network of each verdict; ICMP has no ports in ECS."""
    ends = zip(
        address_texts(verdicts.orig_h),
        address_texts(verdicts.resp_h),
        verdicts.orig_p.tolist(),
        verdicts.resp_p.tolist(),
        verdicts.proto.tolist(),
        community_ids(verdicts),
        strict=True,
    )
    for orig, resp, orig_p, resp_p, proto, community_id in ends:
        has_ports = proto not in _TWO_WAY
        yield {
            "source": {"ip": orig} | ({"port": orig_p} if has_ports else {}),
            "destination": {"ip": resp} | ({"port": resp_p} if has_ports else {}),
            "network": {
                "type": "ipv6" if ":" in orig else "ipv4",
                "transport": _TRANSPORTS.get(proto, str(proto)),
                "iana_number": str(proto),
                "community_id": community_id,
            },
        }


def community_ids(verdicts: Verdicts) -> list[str]:
    """Return the Community ID of each verdict's connection."""
    return [
        community_id(orig_h.tobytes(), resp_h.tobytes(), orig_p, resp_p, proto)
        for orig_h, resp_h, orig_p, resp_p, proto in zip(
            verdicts.orig_h,
            verdicts.resp_h,
            verdicts.orig_p.tolist(),
            verdicts.resp_p.tolist(),
            verdicts.proto.tolist(),
            strict=True,
        )
    ]


def community_id(orig_h: bytes, resp_h: bytes, orig_p: int, resp_p: int, proto: int) -> str:
    """Return the Community ID of one connection.

    Addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d; ports of ICMP are Zeek's: the type, and its
    counterpart or else the code.
    """
    if orig_h.startswith(IPV4_MAPPED_PREFIX) and resp_h.startswith(IPV4_MAPPED_PREFIX):
        orig_h, resp_h = orig_h[12:], resp_h[12:]
    ends = [(orig_h, orig_p), (resp_h, resp_p)]
    one_way = proto in _TWO_WAY and orig_p not in _TWO_WAY[proto]
    (low_h, low_p), (high_h, high_p) = ends if one_way else sorted(ends)
    ports = low_p.to_bytes(2, "big") + high_p.to_bytes(2, "big")
    data = b"\0\0" + low_h + high_h + bytes((proto, 0)) + ports
    return "1:" + base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()
