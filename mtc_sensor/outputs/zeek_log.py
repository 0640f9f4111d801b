"""Logs as Zeek writes them: `mtc.log` and the file behind `notice.log`.

Sources: Zeek 8.2, src/logging/writers/ascii/Ascii.cc (header, footer, truncation of an existing
file) and scripts/base/frameworks/notice (the columns of `notice.log` with the default scripts).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.flow import Kind
from mtc_sensor.outputs.line_file import LineFile
from mtc_sensor.outputs.zeek_format import (
    EMPTY,
    SET_SEPARATOR,
    UNSET,
    Column,
    Fields,
    json_lines,
    tsv_lines,
)
from mtc_sensor.verdict import Verdicts


@dataclass(frozen=True)
class Schema:
    """What a log stream is called and which columns it has."""

    path: str
    """The stream's name, without ``.log``."""
    fields: Fields


_CONN_ID = (
    ("id.orig_h", "addr"),
    ("id.orig_p", "port"),
    ("id.resp_h", "addr"),
    ("id.resp_p", "port"),
)

MTC_LOG = Schema(
    "mtc",
    (
        ("ts", "time"),
        ("uid", "string"),
        *_CONN_ID,
        ("proto", "enum"),
        ("model", "string"),
        ("label", "string"),
        ("score", "double"),
        ("malicious", "bool"),
        ("unknown", "bool"),
        ("kind", "string"),
        ("packets", "count"),
        ("latency", "interval"),
        ("detail", "string"),
    ),
)

NOTICE_LOG = Schema(
    "notice",
    (
        ("ts", "time"),
        ("uid", "string"),
        *_CONN_ID,
        ("fuid", "string"),
        ("file_mime_type", "string"),
        ("file_desc", "string"),
        ("proto", "enum"),
        ("note", "enum"),
        ("msg", "string"),
        ("sub", "string"),
        ("src", "addr"),
        ("dst", "addr"),
        ("p", "port"),
        ("n", "count"),
        ("peer_descr", "string"),
        ("actions", "set[enum]"),
        ("email_dest", "set[string]"),
        ("suppress_for", "interval"),
        ("remote_location.country_code", "string"),
        ("remote_location.region", "string"),
        ("remote_location.city", "string"),
        ("remote_location.latitude", "double"),
        ("remote_location.longitude", "double"),
    ),
)

KINDS = np.array([kind.name.lower() for kind in Kind])
"""A `Kind` as text."""

_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp"}


def protocols(proto: NDArray[np.uint8]) -> list[str]:
    """Name IP protocols as Zeek's ``transport_proto`` does."""
    return [_PROTOCOLS.get(number, "unknown_transport") for number in proto.tolist()]


def conn_columns(verdicts: Verdicts) -> dict[str, Column]:
    """Return the columns that identify a verdict's connection, and the verdict's time."""
    return {
        "ts": verdicts.ts_us,
        "uid": verdicts.uid,
        "id.orig_h": verdicts.orig_h,
        "id.orig_p": verdicts.orig_p,
        "id.resp_h": verdicts.resp_h,
        "id.resp_p": verdicts.resp_p,
        "proto": protocols(verdicts.proto),
    }


def verdict_columns(verdicts: Verdicts) -> dict[str, Column]:
    """Return verdicts as the columns of `MTC_LOG`; scores with the six decimals of a TSV log."""
    latency = [None if us < 0 else us for us in verdicts.latency_us.tolist()]
    return conn_columns(verdicts) | {
        "model": verdicts.model,
        "label": verdicts.label,
        "score": np.round(verdicts.score, 6),
        "malicious": verdicts.malicious,
        "unknown": verdicts.unknown,
        "kind": KINDS[verdicts.kind],
        "packets": verdicts.packets,
        "latency": latency,
        "detail": verdicts.detail,
    }


def verdict_json(verdicts: Verdicts) -> list[str]:
    """Return one JSON object per verdict: the lines of `mtc.log` in Zeek's JSON format."""
    return json_lines(MTC_LOG.fields, verdict_columns(verdicts))


class ZeekLog(LineFile):
    """A log file in Zeek's TSV format, with its header, or in Zeek's JSON format.

    An existing file is emptied, as Zeek does. The clock, seconds since the epoch, dates the lines
    ``#open`` and ``#close``. Raises OutputError like `LineFile`.
    """

    def __init__(
        self,
        path: Path,
        schema: Schema,
        *,
        json: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(path)
        self.schema = schema
        self._clock = clock
        self._tsv = not json
        self._format = json_lines if json else tsv_lines
        if self._tsv:
            self.append(self._header())

    def write(self, columns: Mapping[str, Column]) -> None:
        """Append rows, given as columns (see `mtc_sensor.outputs.zeek_format`)."""
        self.append(self._format(self.schema.fields, columns))

    def close(self) -> None:
        """Append the closing line of a TSV log and close the file."""
        if self._tsv and self.writable:
            self.append([f"#close\t{self._date()}"])
        super().close()

    def _header(self) -> list[str]:
        names, types = zip(*self.schema.fields, strict=True)
        return [
            "#separator \\x09",
            f"#set_separator\t{SET_SEPARATOR}",
            f"#empty_field\t{EMPTY}",
            f"#unset_field\t{UNSET}",
            f"#path\t{self.schema.path}",
            f"#open\t{self._date()}",
            "\t".join(("#fields", *names)),
            "\t".join(("#types", *types)),
        ]

    def _date(self) -> str:
        return time.strftime("%Y-%m-%d-%H-%M-%S", time.localtime(self._clock()))
