"""New labelled captures: packets of an interface into a pcap, and a line for it in a manifest."""

from __future__ import annotations

import csv
import io
import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from mtc_sensor.capture.packets import PacketBatch
from mtc_sensor.errors import DataError
from mtc_sensor.training.manifest import MANIFEST, Source, read_manifest

_MAGIC, _SNAPLEN = 0xA1B2C3D4, 262144
_SECOND_US = 1_000_000


def collect(packets: Iterable[PacketBatch], stop: Callable[[], bool], path: Path) -> int:
    """Write packets to a new pcap until `stop` says so; return how many there were.

    `packets` gives a batch, maybe an empty one, several times a second; all are of one link type.
    Without packets there is no file. Raises DataError if it is there already or cannot be written.
    """
    count = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            for batch in packets:
                if len(batch):
                    file.write(_header(batch) if not count else b"")
                    file.write(pcap_records(batch))
                    count += len(batch)
                if stop():
                    break
        if not count:
            path.unlink()
    except OSError as fault:
        raise DataError(f"{path}: cannot be written: {fault.strerror}") from fault
    return count


def _header(batch: PacketBatch) -> bytes:
    return struct.pack("<IHHiIII", _MAGIC, 2, 4, 0, 0, _SNAPLEN, int(batch.link[0]))


def pcap_records(batch: PacketBatch) -> bytes:
    """Return packets as the records of a pcap (little-endian, microseconds)."""
    headers = np.empty((len(batch), 4), "<u4")
    headers[:, 0], headers[:, 1] = np.divmod(batch.ts_us, _SECOND_US)
    headers[:, 2], headers[:, 3] = batch.caplen, batch.wirelen
    # Headers and packets take turns: pieces of one buffer that begins with all the headers.
    pieces = np.concatenate((headers.view(np.uint8).reshape(-1), batch.data))
    size = headers.itemsize * 4
    begin = np.stack((np.arange(len(batch)) * size, batch.offset + headers.nbytes), axis=1).ravel()
    length = np.stack((np.full(len(batch), size), batch.caplen), axis=1).ravel()
    ends = np.concatenate(([0], np.cumsum(length)))
    positions = np.arange(ends[-1]) + np.repeat(begin - ends[:-1], length)
    return bytes(pieces[positions])


def capture_name(label: str, now: datetime) -> str:
    """Return what a capture is called: its label, and when it began (UTC)."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", label).strip("-") or "capture"
    return f"{safe}-{now.astimezone(timezone.utc):%Y%m%dT%H%M%S}.pcap"


def add_line(folder: Path, source: Source) -> Path:
    """Add a line to the folder's manifest, which keeps its columns; make one if there is none.

    Raises DataError for a manifest that cannot be read or written.
    """
    path, known = folder / MANIFEST, asdict(source)
    columns = list(known)
    before = b""
    if path.exists():
        read_manifest(path)
        before = path.read_bytes()
        columns = next(csv.reader(io.StringIO(before.decode("utf-8-sig"))))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    if not before:
        writer.writeheader()
    elif not before.endswith(b"\n"):
        text.write("\n")
    writer.writerow(known)
    try:
        with path.open("ab") as file:
            file.write(text.getvalue().encode())
    except OSError as fault:
        raise DataError(f"{path}: cannot be written: {fault.strerror}") from fault
    return path
