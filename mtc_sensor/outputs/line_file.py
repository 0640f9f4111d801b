"""A file of whole lines: what every log writes through."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NoReturn, TypeVar

from mtc_sensor.errors import OutputError

Self = TypeVar("Self", bound="LineFile")

_REMEDIES = {
    errno.ENOSPC: "free space there, or choose another folder",
    errno.EDQUOT: "free space within the quota, or choose another folder",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f), or choose another file system",
    errno.EACCES: "change the permissions, or choose another folder",
    errno.EPERM: "change the permissions, or choose another folder",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.ENOENT: "make the folder first",
    errno.ENOTDIR: "a folder's name in the path is a file: choose another folder",
    errno.EISDIR: "it is a folder: choose another name",
    errno.EIO: "the disk reports an error: choose another disk",
}


class LineFile:
    """A new file, or an emptied one, to which lines are appended; a context manager.

    With `keep` what is in an existing file stays.

    Only whole lines are in the file after a fault: of a batch that fails half-way, the lines that
    had room stay. After a fault the file is closed, and another write raises the same error again.

    Raises OutputError, naming file and remedy, here and in all methods.
    """

    def __init__(self, path: Path, *, keep: bool = False) -> None:
        self.path = path
        self._fault: OutputError | None = None
        try:
            how = os.O_APPEND if keep else os.O_TRUNC
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how
            self._fd: int | None = os.open(path, flags, 0o666)
            self._size = os.fstat(self._fd).st_size
        except OSError as fault:
            raise self._error("open", fault) from fault

    def append(self, lines: Iterable[str]) -> None:
        """Append lines, given without their newlines, in one write."""
        data = "".join([f"{line}\n" for line in lines]).encode()
        if self._fault is not None:
            raise self._fault
        assert self._fd is not None, "append after close"
        done = 0
        try:
            while done < len(data):
                done += os.write(self._fd, memoryview(data)[done:])
        except OSError as fault:
            self._give_up(data[:done], fault)
        self._size += len(data)

    @property
    def writable(self) -> bool:
        """Whether the file is open, without a fault so far."""
        return self._fd is not None

    def close(self) -> None:
        """Close the file; a second time, or after a fault, it does nothing."""
        fd, self._fd = self._fd, None
        if fd is None:
            return
        try:
            os.close(fd)
        except OSError as fault:
            raise self._error("close", fault) from fault

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _give_up(self, written: bytes, fault: OSError) -> NoReturn:
        assert self._fd is not None
        self._fault = self._error("write", fault)
        fd, self._fd = self._fd, None
        with suppress(OSError):  # a device cannot be cut; the first fault is the one to report
            os.ftruncate(fd, self._size + written.rfind(b"\n") + 1)
        with suppress(OSError):
            os.close(fd)
        raise self._fault from fault

    def _error(self, action: str, fault: OSError) -> OutputError:
        remedy = _REMEDIES.get(fault.errno or 0, "choose another folder")
        return OutputError(f"{self.path}: cannot {action}: {fault.strerror}: {remedy}")
