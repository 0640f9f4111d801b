"""Data sets of words without packets: Zeek's logs, rows of packet summaries, feature vectors.

Their records have token documents and, where a row is a packet, its size; models of bytes, sizes
and times do not judge them. Addresses and times are in no word.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from mtc_sensor.capture.flows import FlowSettings
from mtc_sensor.capture.tls import name_words
from mtc_sensor.capture.words import port_class
from mtc_sensor.errors import CaptureError
from mtc_sensor.training.files import beside, text_lines
from mtc_sensor.training.flow_records import Ends, Packets, Part, described, records

LOGS = ("conn", "ssl")
"""Zeek's logs that are about connections; the others say nothing of their own."""
_UNSET = ("-", "(empty)", "")
_UNLABELLED = "unlabelled"
_ROWS_AT_ONCE = 4096
_TCP, _ETHERNET = 6, 14
_PROTOCOLS = {"icmp": 1, "tcp": _TCP, "udp": 17}
_VERSIONS = {"SSLv3": "300", "TLSv10": "301", "TLSv11": "302", "TLSv12": "303", "TLSv13": "303"}
_WORD = re.compile(r"[A-Za-z][A-Za-z_-]*")


def read_zeek_log(path: Path, settings: FlowSettings) -> Iterator[Part]:
    """Read a conn.log or ssl.log (TSV) of Zeek, a record for each line.

    A column ``label``, as Stratosphere's labelled logs have it, is the label of the line.
    """
    rows = _log_rows(path)
    while chunk := list(islice(rows, _ROWS_AT_ONCE)):
        try:
            ends = Ends.of([_ends(row) for _, row in chunk])
            documents = [" ".join(_log_words(row)) for _, row in chunk]
        except (KeyError, ValueError, OverflowError) as fault:
            raise CaptureError(
                f"{path}: lines {chunk[0][0]} to {chunk[-1][0]}: not a conn.log or ssl.log: "
                f"{fault!r:.200}"
            ) from fault
        labels = None
        if "label" in chunk[0][1]:
            labels = np.array([_value(row, "label") or _UNLABELLED for _, row in chunk], np.str_)
        yield described(ends, documents, settings), labels


def _log_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number and the fields of each line."""
    fields: list[str] = []
    for number, line in enumerate(text_lines(path), 1):
        if line.startswith("#"):
            fields = line.split()[1:] if line.startswith("#fields") else fields
        elif line.strip():
            values = line.rstrip("\n").split("\t")
            if len(values) != len(fields):
                raise CaptureError(
                    f"{path}: line {number}: {len(values)} fields, where #fields names "
                    f"{len(fields)}: give a log as Zeek writes it, separated by tabs"
                )
            yield number, dict(zip(fields, values, strict=True))


def _value(row: dict[str, str], name: str) -> str:
    value = row.get(name, "")
    return "" if value in _UNSET else value


def _ends(row: dict[str, str]) -> tuple[int, str, int, str, int, int]:
    proto = _PROTOCOLS[row.get("proto", "tcp")]
    source = row["id.orig_h"], int(row["id.orig_p"])
    return proto, *source, row["id.resp_h"], int(row["id.resp_p"]), round(float(row["ts"]) * 1e6)


def _log_words(row: dict[str, str]) -> list[str]:
    """Return the words, those of `zeek-scripts/tls.zeek` where the log has what they need."""
    version = 6 if ":" in row["id.orig_h"] else 4
    words = [
        f"ip:{version}",
        f"transport:{row.get('proto', 'tcp')}",
        f"port:{port_class(int(row['id.resp_p']))}",
    ]
    if "version" in row:
        return words + _tls_words(row)
    words += [f"service:{name.lower()}" for name in _value(row, "service").split(",") if name]
    return words + _named(row, ("conn_state", "history"))


def _tls_words(row: dict[str, str]) -> list[str]:
    words = ["service:ssl"]
    if row["version"] in _VERSIONS:
        words.append(f"tls:{_VERSIONS[row['version']]}")
    if name := _value(row, "server_name"):
        words += name_words(name.encode("ascii", "replace"))
    if alpn := _value(row, "next_protocol"):
        words.append(f"chosen_alpn:{_one_word(alpn)}")
    if subject := _value(row, "subject"):
        words.append("cert:self_signed" if subject == _value(row, "issuer") else "cert:issued")
    if chain := _value(row, "cert_chain_fuids"):
        words.append(f"chain:{chain.count(',') + 1}")
    names = ("cipher", "curve", "resumed", "established", "last_alert", "validation_status")
    return words + [f"log_{word}" for word in _named(row, names)]


def _named(row: dict[str, str], names: tuple[str, ...]) -> list[str]:
    """Return a word for each of the fields that is set."""
    values = [(name, _value(row, name)) for name in names]
    return [f"{name}:{_one_word(value)}" for name, value in values if value]


def _one_word(text: str) -> str:
    return re.sub(r"[^!-~]", "_", text)[:128]


def read_packet_rows(path: Path, settings: FlowSettings) -> Iterator[Part]:
    """Read rows of packets as scapy summarises them, a record of one packet for each.

    The rows of the Xidian platform: time, ends, length, summary, ports, protocol; the protocol is
    before the length in one of its files and last in the other. Summaries may hold commas.
    """
    rows = csv.reader(text_lines(path))
    while chunk := list(islice(rows, _ROWS_AT_ONCE)):
        try:
            parsed = [_packet_row(row) for row in chunk]
        except (ValueError, IndexError) as fault:
            raise CaptureError(
                f"{path}: line {rows.line_num} or before: no row of a packet: {fault!r:.200}"
            ) from fault
        count = len(parsed)
        length = np.array([size for size, _ in parsed], np.int64)
        nothing, ends = np.zeros(count, np.int64), Ends.unknown(count)
        packets = Packets(np.arange(count), nothing, nothing > 0, length, nothing)
        any_size = FlowSettings(min_packets=1, head_bytes=settings.head_bytes)
        made = records(packets, ends, any_size)
        yield made.with_documents([" ".join(words) for _, words in parsed]), None


def _packet_row(row: list[str]) -> tuple[int, list[str]]:
    """Return the IP length and the words."""
    if row[3].isdigit():
        length, summary, (source, destination, protocol) = row[3], row[4:-4], row[-4:-1]
    else:
        (protocol, length), summary, (source, destination) = row[3:5], row[5:-3], row[-3:-1]
    said = [word for word in re.split(r"[\s/]+", ",".join(summary)) if _WORD.fullmatch(word)]
    words = [f"protocol:{_one_word(protocol)}", *(f"summary:{word}" for word in said)]
    for name, port in (("source", source), ("port", destination)):
        known = port.isdigit() and int(port) < 65536
        words.append(f"{name}:{port_class(int(port)) if known else 'none'}")
    return max(min(int(length), 65535 + _ETHERNET) - _ETHERNET, 0), words


def read_vectors(path: Path, settings: FlowSettings) -> Iterator[Part]:
    """Read lines of JSON arrays; every value, rounded to two digits, is a word. Labels beside."""
    pairs = enumerate(zip(text_lines(path), text_lines(beside(path)), strict=False), 1)
    while chunk := list(islice(pairs, _ROWS_AT_ONCE)):
        documents, labels = [], []
        for number, (line, label) in chunk:
            try:
                values = [float(value) for value in json.loads(line)]
            except (ValueError, TypeError, OverflowError) as fault:
                raise CaptureError(f"{path}: line {number}: no JSON array of numbers") from fault
            documents.append(" ".join(f"value{i}:{value:.2g}" for i, value in enumerate(values)))
            labels.append(label.strip())
        ends = Ends.unknown(len(documents))
        yield described(ends, documents, settings), np.array(labels, np.str_)
