"""Training by several processes: `torchrun` starts them and tells each its rank."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from mtc_sensor.errors import ConfigError


@dataclass(frozen=True)
class Ranks:
    """One of the processes that train together."""

    rank: int
    world: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process measures and writes."""
        return self.rank == 0

    def share(self, network: nn.Module) -> nn.Module:
        """Return the network with gradients averaged over the processes."""
        if self.world == 1:
            return network
        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=ids)

    def agree(self, value: bool) -> bool:
        """Return what the first process says."""
        if self.world == 1:
            return value
        said: Tensor = torch.tensor([value], dtype=torch.int32, device=self.device)
        distributed.broadcast(said, 0)
        return bool(said.item())

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.world > 1:
            distributed.barrier()


@contextmanager
def ranks(device: str) -> Iterator[Ranks]:
    """Join the processes that `torchrun` started, or be the only one.

    Raises ConfigError for a device that is not there.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device: {device!r} is not one of auto, cpu, cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: torch sees no CUDA device here: use cpu or auto")
    cuda = device != "cpu" and torch.cuda.is_available()
    if "RANK" not in os.environ:
        yield Ranks(0, 1, torch.device("cuda" if cuda else "cpu"))
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    where = torch.device("cuda", local) if cuda else torch.device("cpu")
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size(), where)
    finally:
        distributed.destroy_process_group()
