"""The bytes of a capture: opened, decompressed, read once and only forward."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

from mtc_sensor.capture.decompress import CompressedFile, decompressor
from mtc_sensor.errors import CaptureError

STDIN = "-"
_MAGIC_BYTES = 4
_BUFFER_BYTES = 1 << 17


class ByteSource:
    """A capture's bytes, decompressed if gzip or zstd; a context manager.

    Parameters
    ----------
    path
        A file, a named pipe, or "-" for standard input. Nothing is ever sought.

    Raises
    ------
    CaptureError
        The file is missing, a directory, or may not be read.
    """

    name: str
    """What messages call it."""
    bytes_total: int | None
    """Size of the stored (compressed) file; None where there is none (a pipe)."""
    compressed: bool
    """Whether positions in what is read differ from positions in the stored file."""

    def __init__(self, path: Path | str) -> None:
        self.name = "standard input" if str(path) == STDIN else str(path)
        self._fault: CaptureError | None = None
        try:
            self._file = _CountedFile(_open(path))
            self.bytes_total = self._file.size()
            self._stream = io.BufferedReader(self._file, _BUFFER_BYTES)
            decompress = decompressor(self._stream.peek(_MAGIC_BYTES)[:_MAGIC_BYTES])
        except OSError as error:
            raise self._unreadable(error) from error
        self.compressed = decompress is not None
        self._step: Callable[[memoryview], int] = self._stream.readinto1
        if decompress is not None:
            self._step = _Pieces(decompress(CompressedFile(self._stream, self.name))).readinto1

    @property
    def bytes_read(self) -> int:
        """Bytes taken from the stored file so far; a buffer ahead of those handed out."""
        return self._file.count

    def readinto(self, target: memoryview) -> int:
        """Fill `target` and return how many bytes came: fewer only at the end of the data.

        Raises CaptureError for a fault, once every byte before it has been handed out.
        """
        if self._fault is not None:
            raise self._fault
        filled = 0
        try:
            while filled < len(target) and (count := self._step(target[filled:])):
                filled += count
        except CaptureError as error:
            self._fault = error
        except OSError as error:
            self._fault = self._unreadable(error)
        if self._fault is not None and not filled:
            raise self._fault
        return filled

    def _unreadable(self, error: OSError) -> CaptureError:
        remedies = {
            FileNotFoundError: "check the name",
            PermissionError: "grant the right to read it, or run as a user who has it",
            IsADirectoryError: "name the captures in it",
        }
        remedy = remedies.get(type(error), "check the device or the command that it comes from")
        return CaptureError(f"{self.name}: cannot be read: {error.strerror or error}; {remedy}")

    def close(self) -> None:
        """Close the file; standard input stays open."""
        self._file.close()

    def __enter__(self) -> ByteSource:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class _CountedFile(io.RawIOBase):
    """A file that counts what is read of it, and never gives part of a magic number."""

    def __init__(self, file: io.BufferedIOBase | io.RawIOBase) -> None:
        self._file = file
        self.count = 0

    def size(self) -> int | None:
        try:
            status = os.fstat(self._file.fileno())
        except OSError:  # not a file of the system: standard input replaced by a program
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        got = 0
        while got < min(_MAGIC_BYTES, len(buffer)):
            count = self._file.readinto(buffer[got:])
            if count is None:
                raise BlockingIOError("its descriptor is in non-blocking mode")
            if not count:
                break
            got += count
        self.count += got
        return got

    def close(self) -> None:
        if sys.stdin is None or self._file is not sys.stdin.buffer:
            self._file.close()
        super().close()


class _Pieces:
    """Strings of bytes of any length, read into buffers of any length."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readinto1(self, target: memoryview) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _open(path: Path | str) -> io.BufferedIOBase | io.RawIOBase:
    if str(path) != STDIN:
        return io.FileIO(path)
    if sys.stdin is None:
        raise OSError("it is closed")
    return cast(io.BufferedIOBase, sys.stdin.buffer)
