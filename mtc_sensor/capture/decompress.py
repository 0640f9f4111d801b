"""gzip and zstd as streams: several members or frames, bounded output whatever the input.

A fault is raised only when everything before it has been given: a capture that was cut off while
it was compressed still yields its packets.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator

import zstandard

from mtc_sensor.errors import CaptureError

_READ_BYTES = 1 << 17
_PIECE_BYTES = 1 << 18
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_CHECKSUM_FLAG = 0x04
_ZSTD_RLE_BLOCK = 1


class CompressedFile:
    """The stored bytes of a compressed capture, and where in them we are.

    Parameters
    ----------
    stream
        What to read from, forward only.
    name
        What messages call it.
    """

    def __init__(self, stream: io.BufferedIOBase, name: str) -> None:
        self._stream = stream
        self._name = name
        self.position = 0

    def some(self) -> bytes:
        """Return bytes, as many as come at once; none at the end."""
        data = self._stream.read1(_READ_BYTES)
        self.position += len(data)
        return data

    def exactly(self, count: int) -> bytes:
        """Return `count` bytes; raise CaptureError where the file ends before them."""
        data = self.exactly_or_end(count)
        if len(data) < count:
            raise self.fault(self.position, "the compressed data is cut off here")
        return data

    def exactly_or_end(self, count: int) -> bytes:
        """Return `count` bytes, or fewer at the end."""
        data = self._stream.read(count)
        self.position += len(data)
        return data

    def fault(self, position: int, what: str) -> CaptureError:
        """Return the error that says `what` is wrong at `position` of the stored bytes."""
        return CaptureError(
            f"{self._name}: byte {position} of the compressed file: {what}; "
            "copy the file again from where it was made, or compress the capture again"
        )


Decompressor = Callable[[CompressedFile], Iterator[bytes]]


def decompressor(magic: bytes) -> Decompressor | None:
    """Return what decompresses a file beginning with `magic` (4 bytes), None for other files."""
    if magic.startswith(_GZIP_MAGIC):
        return gunzip
    if magic == _ZSTD_MAGIC or _is_skippable(magic):
        return unzstd
    return None


def gunzip(file: CompressedFile) -> Iterator[bytes]:
    """Inflate gzip members one after the other (RFC 1952), at most 256 KiB at a time.

    Zeros behind a member are padding. Raises CaptureError for data that is damaged, fails its
    checksum or ends early.
    """
    data = b""
    while data or (data := file.some().lstrip(b"\0")):
        member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        while not member.eof:
            before = member.copy()
            try:
                piece = member.decompress(data, _PIECE_BYTES)
            except zlib.error as error:
                yield from _up_to_fault(before, data)
                raise file.fault(file.position, f"damaged here or before: {error}") from error
            if piece:
                yield piece
            data = member.unconsumed_tail
            if not (piece or data or member.eof):
                data = file.exactly(1) + file.some()  # a member that is not over needs more
        data = member.unused_data.lstrip(b"\0")


def _up_to_fault(member: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """Inflate `data` byte by byte: with an error, zlib gives nothing of what came before it."""
    for position in range(len(data)):
        try:
            piece = member.decompress(data[position : position + 1])
        except zlib.error:
            return
        if piece:
            yield piece


def unzstd(file: CompressedFile) -> Iterator[bytes]:
    """Decompress zstd frames one after the other (RFC 8878), a block (at most 128 KiB) at a time.

    zstandard's own readers either end silently where the data is cut off or give as much at once
    as the input asks for; walking the blocks here avoids both. Raises CaptureError for data that
    is damaged, fails its checksum, ends early or needs a window of more than 128 MiB.
    """
    while magic := file.exactly_or_end(4):
        if _is_skippable(magic):
            _skip(file, int.from_bytes(file.exactly(4), "little"))
            continue
        start = file.position - len(magic)
        if magic != _ZSTD_MAGIC:
            raise file.fault(start, "no zstd frame begins here")
        try:
            yield from _frame(file, magic)
        except zstandard.ZstdError as error:
            raise file.fault(start, f"damaged in the frame that begins here: {error}") from error


def _frame(file: CompressedFile, magic: bytes) -> Iterator[bytes]:
    prefix = magic + file.exactly(1)
    frame = zstandard.ZstdDecompressor().decompressobj()
    frame.decompress(prefix + file.exactly(zstandard.frame_header_size(prefix) - len(prefix)))
    last = False
    while not last:
        header = file.exactly(3)
        fields = int.from_bytes(header, "little")
        last = bool(fields & 1)
        size = 1 if fields >> 1 & 3 == _ZSTD_RLE_BLOCK else fields >> 3
        yield frame.decompress(header + file.exactly(size))
    if prefix[4] & _ZSTD_CHECKSUM_FLAG:
        frame.decompress(file.exactly(4))


def _is_skippable(magic: bytes) -> bool:
    return magic[1:] == b"\x2a\x4d\x18" and magic[0] >> 4 == 5


def _skip(file: CompressedFile, count: int) -> None:
    while count:
        count -= len(file.exactly(min(count, _READ_BYTES)))
