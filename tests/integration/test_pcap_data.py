"""Real captures: the same packets as scapy's reader finds, one by one in Python."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from scapy.utils import RawPcapReader

from mtc_sensor.capture.pcap import capture_files, read_packets
from tests.unit.capture.read import Read, read

DATA = Path(os.environ.get("MTC_DATA", Path(__file__).parents[3] / "shared" / "data"))
FILES = 40

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def captures() -> list[Path]:
    folder = DATA / "benign"
    if not folder.is_dir():
        pytest.skip(f"no labelled captures in {folder}: set MTC_DATA to the data pack")
    return capture_files([folder])


def _read_with_scapy(path: Path) -> Read:
    with RawPcapReader(str(path)) as reader:
        return [
            (meta.sec * 1_000_000 + meta.usec, data[: meta.caplen], meta.wirelen)
            for data, meta in reader
        ]


def test_same_packets_as_scapy(captures: list[Path]) -> None:
    packets = 0
    for path in captures[:: len(captures) // FILES]:
        found = read(path, chunk_bytes=10_000)
        assert found == _read_with_scapy(path), path
        packets += len(found)
    assert packets > 1000


def test_every_capture_is_read_to_its_end(captures: list[Path]) -> None:
    assert len(captures) > 500
    for path in captures:
        batches = list(read_packets(path))
        used = sum(16 * len(batch) + int(batch.caplen.sum()) for batch in batches)
        assert 24 + used == path.stat().st_size, path
