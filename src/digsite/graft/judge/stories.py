"""What merges of two models, and the line between them, stand beside: chance merges, shuffled donors, the barrier."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

POINTS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Barrier:
    """`losses` at `points` of the way from the first model to the second; `height` is the largest excess over the chord."""

    points: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def height(self) -> float:
        """Most that the loss rises above the straight line between its two ends."""
        ends = self.losses[0], self.losses[-1]
        return max(
            loss - ((1 - at) * ends[0] + at * ends[1])
            for at, loss in zip(self.points, self.losses, strict=True)
        )


def measure_barrier(
    loss_of: Callable[[dict[str, Tensor]], float],
    first: Mapping[str, Tensor],
    second: Mapping[str, Tensor],
    points: tuple[float, ...] = POINTS,
) -> Barrier:
    """The loss of (1 - t) first + t second at every point t; both ends are among the points."""
    assert points[0] == 0.0 and points[-1] == 1.0, "both ends belong to the line"
    between = (
        {name: torch.lerp(weight, second[name], at) for name, weight in first.items()} for at in points
    )
    return Barrier(points, tuple(loss_of(state) for state in between))


def weigh_randomly(parents: Sequence[Mapping[str, Tensor]], draw: torch.Generator) -> dict[str, Tensor]:
    """Every tensor between two `parents`, its place drawn: what a merge is that knows nothing."""
    first, second = parents
    return {
        name: torch.lerp(weight, second[name], float(torch.rand(1, generator=draw)))
        for name, weight in first.items()
    }


def shuffle_change(
    start: Mapping[str, Tensor], parent: Mapping[str, Tensor], draw: torch.Generator
) -> dict[str, Tensor]:
    """A donor whose change of the `start` has the same numbers at other places: sizes stay, what it learned is gone."""
    out = {}
    for name, weight in start.items():
        change = (parent[name] - weight).flatten()
        out[name] = weight + change[torch.randperm(len(change), generator=draw)].view_as(weight)
    return out
