"""Text and arrays from files of data sets: sizes are bounded, nothing unpickles."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc_sensor.errors import CaptureError

_MAX_LINE = 1 << 24
_MAX_ARRAYS = 1 << 30
_MAX_NUMBER = 1e11
"""Above all sizes, and all seconds since the epoch."""


def beside(path: Path) -> Path:
    """Return the file with the labels of one whose name has an x: ``y_train.npy``."""
    name = path.name.replace("x_", "y_", 1) if "x_" in path.name else path.name.replace("_X", "_y")
    return path.with_name(name)


def load_arrays(path: Path, names: tuple[str, ...] = ()) -> list[NDArray[Any]]:
    """Read an .npy, or named arrays of an .npz. Raises CaptureError."""
    try:
        if not names:
            return [_numbers(np.load(path, allow_pickle=False, mmap_mode="r"))]
        with zipfile.ZipFile(path) as members:
            if sum(member.file_size for member in members.infolist()) > _MAX_ARRAYS:
                raise CaptureError(f"{path}: arrays of more than {_MAX_ARRAYS >> 30} GiB: split it")
        with np.load(path, allow_pickle=False) as arrays:
            return [_numbers(arrays[name]) for name in names]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as fault:
        raise CaptureError(f"{path}: no arrays {', '.join(names)}: {fault}") from fault


def _numbers(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array. Raises ValueError if it holds anything but sane numbers."""
    if array.dtype.kind not in "iuf" or not (np.abs(array) < _MAX_NUMBER).all():
        raise ValueError(f"{array.dtype} with values that are no sizes or times")
    return array


def text_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text file, plain or compressed with gzip. Raises CaptureError."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            while line := file.readline(_MAX_LINE + 1):
                if len(line) > _MAX_LINE:
                    raise CaptureError(f"{path}: a line of more than {_MAX_LINE >> 20} MiB")
                yield line.decode("utf-8", "replace")
    except (OSError, EOFError, zlib.error) as fault:
        raise CaptureError(f"{path}: cannot be read to its end: {fault}") from fault
