from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from mtc_sensor.capture.packets import PacketBatch
from mtc_sensor.capture.pcap import read_packets
from mtc_sensor.errors import DataError
from mtc_sensor.training.collect import add_line, capture_name, collect
from mtc_sensor.training.manifest import Source, read_manifest


def batch(*packets: bytes, gap: bytes = b"") -> PacketBatch:
    """Packets with something between them, 10 bytes longer on the wire."""
    length = np.array([len(packet) for packet in packets], np.int64)
    offset = np.cumsum([0, *(length + len(gap))][:-1]) + len(gap) * (np.arange(len(packets)) >= 0)
    data = b"".join(gap + packet for packet in packets)
    return PacketBatch(
        data=np.frombuffer(data, np.uint8),
        offset=np.asarray(offset, np.int64)[: len(packets)],
        caplen=length,
        wirelen=length + 10,
        ts_us=1_600_000_000_000_001 + np.arange(len(packets)) * 1_500_000,
        link=np.full(len(packets), 101, np.int32),
    )


def contents(batches: Iterator[PacketBatch]) -> list[tuple[bytes, int, int, int]]:
    return [
        (b.data[at : at + n].tobytes(), wire, ts, link)
        for b in batches
        for at, n, wire, ts, link in zip(
            b.offset, b.caplen, b.wirelen.tolist(), b.ts_us.tolist(), b.link.tolist(), strict=True
        )
    ]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    batches = [batch(), batch(b"one", b"", b"three", gap=b"--"), batch(b"four")]
    steps = iter([False, False, True])
    assert collect(iter(batches), lambda: next(steps), tmp_path / "new" / "a.pcap") == 4
    assert contents(read_packets(tmp_path / "new" / "a.pcap")) == [
        (b"one", 13, 1_600_000_000_000_001, 101),
        (b"", 10, 1_600_000_001_500_001, 101),
        (b"three", 15, 1_600_000_003_000_001, 101),
        (b"four", 14, 1_600_000_000_000_001, 101),
    ]


def test_without_packets_there_is_no_file(tmp_path: Path) -> None:
    assert collect(iter([batch(), batch()]), lambda: False, tmp_path / "a.pcap") == 0
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_text("mine")
    with pytest.raises(DataError, match=r"a\.pcap: cannot be written: File exists"):
        collect(iter([batch(b"x")]), lambda: True, tmp_path / "a.pcap")


def test_names_say_what_and_when() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    assert capture_name("my app/1", now) == "my-app-1-20260102T030405.pcap"
    assert capture_name("../", now) == "capture-20260102T030405.pcap"


def test_a_manifest_is_begun_and_goes_on(tmp_path: Path) -> None:
    first, second = Source("a.pcap", "web", split="val"), Source("b.pcap", "a, b", family="x")
    add_line(tmp_path, first)
    add_line(tmp_path, second)
    assert read_manifest(tmp_path).sources == (first, second)


def test_a_manifest_keeps_its_columns(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("remark,label,path\nx,mail,a.pcap")
    add_line(tmp_path, Source("b.pcap", "web", family="dropped"))
    assert (
        tmp_path / "manifest.csv"
    ).read_text() == "remark,label,path\nx,mail,a.pcap\n,web,b.pcap\n"
    (tmp_path / "manifest.csv").write_text("remark\n")
    with pytest.raises(DataError, match="no column 'path'"):
        add_line(tmp_path, Source("b.pcap", "web"))
