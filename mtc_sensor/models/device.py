"""Where models run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from mtc_sensor.config import DEVICES
from mtc_sensor.errors import BundleError

T = TypeVar("T")


def device_of(name: str) -> torch.device:
    """Return the device called ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises BundleError if it cannot be had.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(DEVICES, name):
        raise BundleError(f"device: {name!r} is not one of auto, cpu, cuda, cuda:N")
    device = torch.device(name)
    if device.type == "cuda":
        _check_cuda(device.index or 0)
    return device


def moved(array: NDArray[Any], device: torch.device) -> Tensor:
    """Return an array on a device; a GPU fetches it from pinned memory while others go on."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def one_ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield each item when the next one has been made.

    What is launched on a GPU comes out of its maker at once, and is waited for when it is looked
    at: meanwhile the next inputs are made and copied.
    """
    made: list[T] = []
    for item in items:
        made.append(item)
        if len(made) > 1:
            yield made.pop(0)
    yield from made


def _check_cuda(index: int) -> None:
    if not torch.cuda.is_available():
        raise BundleError("device: torch sees no CUDA device here: use cpu or auto")
    if index >= torch.cuda.device_count():
        raise BundleError(
            f"device: there is no cuda:{index}, the last is cuda:{torch.cuda.device_count() - 1}"
        )
    # Its 10 bits of precision would not give the bundles' reference outputs.
    torch.backends.cudnn.allow_tf32 = False
