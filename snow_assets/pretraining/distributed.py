"""Data-parallel training processes that torchrun starts; a world size of 1 without torchrun."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True, kw_only=True)
class World:
    """This process's rank, the world size and its device; rank 0 writes for all."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def all_reduce_mean(self, value: torch.Tensor) -> torch.Tensor:
        """The mean over all ranks, returned on every rank."""
        if self.world_size > 1:
            dist.all_reduce(value)
        return value / self.world_size

    def all_reduce_any(self, flag: bool) -> bool:
        """Whether the flag is true on any rank, returned on every rank."""
        if self.world_size == 1:
            return flag
        is_set = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(is_set, op=dist.ReduceOp.MAX)
        return bool(is_set.item())


@contextmanager
def init_world() -> Iterator[World]:
    """Join the process group of torchrun's environment variables; without them, a world of one.

    Uses NCCL on CUDA and gloo on a CPU.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield World(rank=0, world_size=1, device=device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(rank=dist.get_rank(), world_size=world_size, device=device)
    finally:
        dist.destroy_process_group()
