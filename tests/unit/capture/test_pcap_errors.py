"""Damaged captures: everything before the fault, then one error that says what and where."""

from __future__ import annotations

import gzip
import re
import struct
from pathlib import Path

import pytest

from tests.unit.capture.build import (
    pcap_bytes,
    pcap_header,
    pcapng_bytes,
    section,
)
from tests.unit.capture.read import (
    PACKETS,
    Writer,
    read_to_fault,
)

NOT_CAPTURES = {
    "empty": (b"", "byte 0: the file is empty; give a pcap or pcapng capture"),
    "text": (b"No, a letter.\n\xff....", r"begins with b'No, a letter.\\n\\xff.'; give a pcap"),
    "compressed text": (gzip.compress(b"Hi"), "byte 0 after decompression: not a capture.*b'Hi'"),
    "empty gzip": (gzip.compress(b""), "byte 0 after decompression: the file is empty"),
    "a magic number": (pcap_header()[:4], "inside its header, after 4 of 24 bytes; the end is"),
}


@pytest.mark.parametrize("name", NOT_CAPTURES)
def test_what_is_not_a_capture(tmp_path: Path, name: str) -> None:
    data, expected = NOT_CAPTURES[name]
    packets, message = read_to_fault(data, tmp_path)
    assert message.startswith(f"{tmp_path}/capture: byte 0")
    assert re.search(expected, message)
    assert message.endswith("(no packet was read)")
    assert not packets


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("length", [262_145, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_record_length_that_cannot_be(tmp_path: Path, length: int, big_endian: bool) -> None:
    record = struct.pack(">IIII" if big_endian else "<IIII", 1, 1, length, length)
    data = pcap_bytes(PACKETS, big_endian=big_endian)
    packets, message = read_to_fault(data + record + bytes(300_000), tmp_path)
    assert packets == PACKETS
    assert f": byte {len(data)}: a record of {length} bytes, where 262144 are the most;" in message
    assert "the 4 packets before it were read and used" in message


def _complete(writer: Writer) -> list[int]:
    """Return where each packet of `PACKETS` ends in the file, after where the first begins."""
    return [len(writer(PACKETS[:count])) for count in range(len(PACKETS) + 1)]


@pytest.mark.parametrize("chunk_bytes", [3, 1 << 16])
@pytest.mark.parametrize("writer", [pcap_bytes, pcapng_bytes])
def test_a_cut_anywhere_keeps_the_packets_before_it(
    tmp_path: Path, writer: Writer, chunk_bytes: int
) -> None:
    data = writer(PACKETS)
    ends = _complete(writer)
    whole = {*ends, len(section())} if writer is pcapng_bytes else {*ends}
    for cut in range(1, len(data)):
        packets, message = read_to_fault(data[:cut], tmp_path, chunk_bytes)
        count = sum(end <= cut for end in ends[1:])
        assert packets == PACKETS[:count]
        if cut in whole:
            assert not message
        elif cut >= 4:
            assert re.search(r"byte \d+: the file ends inside .* the end is missing", message)
            used = f"the {count} packets before it were read" if count else "no packet was read"
            assert used in message
