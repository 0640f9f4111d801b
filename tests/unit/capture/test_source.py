"""Where the bytes come from: files, directories, pipes, devices that fail."""

from __future__ import annotations

import gzip
import io
import os
import re
import sys
import threading
from pathlib import Path

import pytest

from mtc_sensor.capture import source
from mtc_sensor.capture.pcap import CaptureReader, capture_files
from mtc_sensor.errors import CaptureError
from tests.unit.capture.build import (
    pcap_bytes,
    pcapng_bytes,
)
from tests.unit.capture.read import (
    COMPRESS,
    PACKETS,
    read_to_fault,
    unpack,
    write,
    zstd,
)


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("sip", [1, 5, 4096])
def test_standard_input_in_small_sips(
    monkeypatch: pytest.MonkeyPatch, compression: str, sip: int
) -> None:
    data = COMPRESS[compression](pcapng_bytes(PACKETS))
    read_end, write_end = os.pipe()

    def feed() -> None:
        with io.FileIO(write_end, "w") as pipe:
            for start in range(0, len(data), sip):
                pipe.write(data[start : start + sip])

    feeder = threading.Thread(target=feed)
    feeder.start()
    with os.fdopen(read_end) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with CaptureReader("-") as reader:
            assert [packet for batch in reader for packet in unpack(batch)] == PACKETS
            assert (reader.bytes_read, reader.bytes_total) == (len(data), None)
        assert not stdin.closed
    feeder.join()


@pytest.mark.parametrize("compression", COMPRESS)
def test_progress_counts_stored_bytes(tmp_path: Path, compression: str) -> None:
    data = COMPRESS[compression](pcap_bytes([(i, os.urandom(1000)) for i in range(1000)]))
    with CaptureReader(write(tmp_path, data), chunk_bytes=1 << 16) as reader:
        seen = [reader.bytes_read for _ in reader]
        assert reader.packets == 1000
    assert reader.bytes_total == len(data) == seen[-1]
    assert seen == sorted(seen)
    assert len(set(seen)) > 3


def test_directories_give_their_captures_by_magic_number(tmp_path: Path) -> None:
    contents = {
        "b/z.txt": pcap_bytes(PACKETS),
        "b/packets.gz": gzip.compress(pcapng_bytes(PACKETS)),
        "a.zst": zstd(pcap_bytes([], big_endian=True)),
        "notes.pcap": b"not a capture",
        "text.gz": gzip.compress(b"text"),
        "broken.gz": b"\x1f\x8b" + b"broken",
        "empty.pcap": b"",
    }
    for name, data in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    os.mkfifo(tmp_path / "pipe")  # would block whoever opened it
    (tmp_path / "loop").symlink_to(tmp_path)
    notes = tmp_path / "notes.pcap"
    found = capture_files([notes, tmp_path, "-", str(tmp_path / "missing")])
    below = [tmp_path / name for name in ("a.zst", "b/packets.gz", "b/z.txt")]
    assert found == [notes, *below, Path("-"), tmp_path / "missing"]


def test_what_may_not_be_read_is_left_to_the_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert capture_files([tmp_path, write(tmp_path, b"")])[0] == tmp_path / "capture"


def test_a_directory_without_captures(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("nothing here")
    with pytest.raises(CaptureError, match=f"^{tmp_path}: no capture in this directory.*; name "):
        capture_files([tmp_path])


def test_a_missing_file() -> None:
    with pytest.raises(CaptureError, match=r"^no/such\.pcap: .*No such file.*; check the name$"):
        CaptureReader("no/such.pcap")


def test_a_directory_in_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=f"^{tmp_path}: .*[Dd]irectory; name the captures in it"):
        CaptureReader(tmp_path)


def test_a_file_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> io.FileIO:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(source, "_open", refuse)
    with pytest.raises(CaptureError, match=r"^x\.pcap: .*Permission denied; grant the right"):
        CaptureReader("x.pcap")


def test_a_directory_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(CaptureError, match=f"^{tmp_path}: .*Permission denied; grant the right"):
        capture_files([tmp_path])


def test_standard_input_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(CaptureError, match=r"^standard input: .*closed; check .*command"):
        CaptureReader("-")


def test_standard_input_that_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    with os.fdopen(read_end) as stdin, os.fdopen(write_end, "wb"):
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(CaptureError, match=r"^standard input: .*non-blocking"):
            CaptureReader("-")


def test_a_device_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pcap_bytes(PACKETS)

    class Failing(io.BytesIO):
        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            count = super().readinto(buffer[:30])
            if not count:
                raise OSError(5, "Input/output error")
            return count

    monkeypatch.setattr(source, "_open", lambda _: Failing(data[:60]))
    packets, message = read_to_fault(b"", tmp_path)
    assert packets == PACKETS[:1]
    assert re.search("Input/output error; check the device.*the 1 packets before it", message)
