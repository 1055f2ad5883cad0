"""A grid of few values per output row, as the published rounding has it: minimum to maximum, zero always on the grid."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from digsite.base.errors import UsageError


@dataclass(frozen=True)
class Grid:
    """`scale` and `zero` per row: value = scale * (level - zero) for levels 0 to `top`."""

    scale: Float[Tensor, "out"]
    zero: Float[Tensor, "out"]
    top: int

    def rounded(self, column: Float[Tensor, "out"]) -> Float[Tensor, "out"]:
        """One weight of every row on its row's grid; a pruned weight stays 0, which is on every grid."""
        level = (torch.round(column / self.scale) + self.zero).clamp(0, self.top)
        return self.scale * (level - self.zero)


def find_grid(weight: Float[Tensor, "out in"], bits: int) -> Grid:
    """The asymmetric grid of `bits` bits between each row's least and largest weight (0 among them).

    It is read from the weights before pruning, so that updates cannot stretch it.
    """
    if not 2 <= bits <= 8:
        raise UsageError(
            f"Weights cannot be rounded to {bits} bits.", hint="Choose 2 to 8; 8 and 4 are usual."
        )
    low, high = weight.min(1).values.clamp(max=0), weight.max(1).values.clamp(min=0)
    empty = (low == 0) & (high == 0)
    low, high = torch.where(empty, -1.0, low), torch.where(empty, 1.0, high)
    top = 2**bits - 1
    scale = (high - low) / top
    return Grid(scale, torch.round(-low / scale), top)
