"""Small captures and their manifests."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from mtc_sensor.training.manifest import Manifest, read_manifest

RAW_IP = 101


def udp(port: int, payload: bytes) -> bytes:
    """Return a datagram from 10.0.0.1 to 10.0.0.2, port 5000."""
    length = 20 + 8 + len(payload)
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, length, 0, 0, 64, 17, 0, b"\n\0\0\1", b"\n\0\0\2")
    return ip + struct.pack(">HHHH", port, 5000, 8 + len(payload), 0) + payload


def capture(path: Path, flows: int, packets: int = 4, payload: bytes = b"data") -> Path:
    """Write a pcap of UDP flows, one after the other."""
    records = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, RAW_IP)]
    for number in range(flows * packets):
        data = udp(40000 + number // packets, payload)
        records.append(struct.pack("<IIII", 1_600_000_000 + number, 0, len(data), len(data)) + data)
    path.write_bytes(b"".join(records))
    return path


def manifest_of(folder: Path, rows: Sequence[tuple[str, str, str]]) -> Manifest:
    """Write and read a manifest of path, label and family."""
    lines = ["path,label,family", *(",".join(row) for row in rows)]
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return read_manifest(folder)
