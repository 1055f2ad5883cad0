"""The processes that work on one run together, as torchrun starts them: all compute, only the first writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed

from digsite.base import settings
from digsite.base.errors import UsageError

PATIENCE = timedelta(days=2)  # the others wait while the first trains a target alone


@dataclass(frozen=True)
class World:
    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def device(self, chosen: torch.device) -> torch.device:
        """Each process of a machine takes the GPU of its number."""
        own = self.size > 1 and chosen.type == "cuda" and chosen.index is None
        return torch.device("cuda", self.local_rank) if own else chosen

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            distributed.barrier()

    def agree(self, exit_code: int | None) -> int | None:
        """The same answer in every process: the highest exit code that a signal to any of them asked for."""
        if self.size == 1:
            return exit_code
        highest = torch.tensor(exit_code or 0, device=_device())
        distributed.all_reduce(highest, op=distributed.ReduceOp.MAX)
        return int(highest) or None


def from_environment() -> World:
    """RANK, WORLD_SIZE and LOCAL_RANK; alone without them."""
    size = settings.whole_number("WORLD_SIZE", 1, least=1)
    rank, local = settings.rank(), settings.whole_number("LOCAL_RANK", 0)
    if rank >= size:
        message = (
            f"The environment variable RANK is {rank}, but WORLD_SIZE says that there are {size} processes."
        )
        raise UsageError(message, hint="Unset both: unset RANK WORLD_SIZE")
    return World(rank, size, local)


@contextmanager
def joined(world: World, device: torch.device) -> Iterator[None]:
    """A process group for as long as the run takes."""
    if world.size == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _device() -> torch.device:
    """What the group's backend can send."""
    return torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")
