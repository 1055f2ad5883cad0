"""Data parallel over processes: each takes its own batches, and all take the mean of their gradients."""

from collections.abc import Iterable

from torch import Tensor
from torch import distributed as dist


def place() -> tuple[int, int]:
    """This process's number and how many there are; alone unless a process group was started."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def average(tensors: Iterable[Tensor]) -> None:
    """In place, over all processes."""
    _, size = place()
    if size > 1:
        for tensor in tensors:
            dist.all_reduce(tensor)
            tensor /= size
