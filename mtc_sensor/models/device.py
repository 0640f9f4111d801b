"""Where models run."""

from __future__ import annotations

import re

import torch

from mtc_sensor.config import DEVICES
from mtc_sensor.errors import BundleError


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


def _check_cuda(index: int) -> None:
    if not torch.cuda.is_available():
        raise BundleError("device: torch sees no CUDA device here: use cpu or auto")
    if index >= torch.cuda.device_count():
        raise BundleError(
            f"device: there is no cuda:{index}, the last is cuda:{torch.cuda.device_count() - 1}"
        )
    # Its 10 bits of precision would not give the bundles' reference outputs.
    torch.backends.cudnn.allow_tf32 = False
