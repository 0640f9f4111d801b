"""safetensors files from anybody: capped, hashed and compared with the network before use."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from mtc_sensor.errors import BundleError

MAX_FILE = 256 << 20
MAX_HEADER = 1 << 20
PICKLE_SUFFIXES = {".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".joblib", ".npy", ".npz"}
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def read_tensors(path: Path, sha256: str, key: str) -> dict[str, Tensor]:
    """Read a safetensors file, once, and nothing else.

    Raises BundleError for a file that is not plain safetensors, is larger than `MAX_FILE`, does not
    have the hash that the bundle states under `key`, or holds a NaN or an infinity.
    """
    data = read_file(path, sha256, key)
    tensors = _parse(path, data)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise BundleError(f"{path}: tensor {name} holds NaN or infinity: train the model again")
    return tensors


def read_file(path: Path, sha256: str, key: str) -> bytes:
    """Read a file of a bundle, once.

    Raises BundleError for a pickle, a file larger than `MAX_FILE`, and one that does not have the
    hash that the bundle states under `key`.
    """
    data = _read_capped(path)
    if data.startswith(_PICKLE_STARTS) and not _has_header(data):
        raise BundleError(
            f"{path}: starts with {data[:4].hex()} like a pickle or an archive, which are never "
            "loaded: save it with safetensors.torch.save_file"
        )
    found = sha256_of(data)
    if found != sha256:
        raise BundleError(
            f"{path}: SHA-256 is {found}, but bundle.yaml has {key}: {sha256}: the file is "
            "damaged or belongs to another bundle; copy the whole folder again"
        )
    return data


def check_tensors(path: Path, tensors: Mapping[str, Tensor], network: nn.Module) -> None:
    """Compare tensors with the parameters and buffers of `network` (which may be on `meta`).

    Raises BundleError naming the first tensor that is missing, unknown, or of another shape or
    type.
    """
    expected = network.state_dict()
    for name in sorted(expected.keys() ^ tensors.keys()):
        what = "is missing" if name in expected else "is not one of the network's"
        raise BundleError(f"{path}: tensor {name} {what}: check network.name in bundle.yaml")
    for name, tensor in expected.items():
        want, have = _describe(tensor), _describe(tensors[name])
        if want != have:
            raise BundleError(
                f"{path}: tensor {name} is {have}, the network has {want}: check network, "
                "input and labels in bundle.yaml"
            )


def sha256_of(data: bytes) -> str:
    """Return the hash as bundles state it."""
    return hashlib.sha256(data).hexdigest()


def _has_header(data: bytes) -> bool:
    """Tell a safetensors header whose length begins like a pickle, as 640 does, from one."""
    return int.from_bytes(data[:8], "little") <= MAX_HEADER and data[8:9] == b"{"


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _read_capped(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as fault:
        raise BundleError(f"{path}: {fault.strerror}: copy the whole folder again") from fault
    if len(data) > MAX_FILE:
        raise BundleError(f"{path}: larger than {MAX_FILE >> 20} MiB: not a bundle of this product")
    return data


def _parse(path: Path, data: bytes) -> dict[str, Tensor]:
    header = int.from_bytes(data[:8], "little")
    if len(data) < 8 or header > min(MAX_HEADER, len(data) - 8):
        raise BundleError(
            f"{path}: header length {header} at byte 0 of {len(data)} bytes: not a safetensors file"
        )
    try:
        return safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as fault:
        raise BundleError(f"{path}: not valid safetensors ({fault}): save it again") from fault
