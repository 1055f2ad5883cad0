"""Batches and random numbers of K members, each from its own named streams; rows of zeros merged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from digsite.base.streams import derive_seed
from digsite.decompose.config import DecomposeConfig
from digsite.decompose.core.masks import Layout

ROUND = 16  # rows of a merged batch come in multiples of this, so that few shapes are compiled
Sampler = Callable[[torch.Generator], Tensor]  # one batch (B, ...) from a generator


def make_generator(seed: int, name: str, *indices: int) -> torch.Generator:
    """The generator of a named stream: a random draw is addressed, so no state of it has to be stored."""
    return torch.Generator().manual_seed(derive_seed(seed, name, *indices))


@dataclass
class Draws:
    """What a step of K members draws: `sample` gives a batch from a generator, `seeds` are those of the members."""

    sample: Sampler
    seeds: Sequence[int]
    config: DecomposeConfig
    device: torch.device
    dtype: torch.dtype
    capacity: int = 0  # rows of a batch whose rows of zeros are merged; 0 = all rows as they are

    def draw_member(self, k: int, index: int) -> Tensor:
        """Batch `index` (B, ...) of member k."""
        x = self.sample(make_generator(self.seeds[k], "data", index)).to(self.device)
        return x.to(self.dtype) if x.is_floating_point() else x

    def merge_from_now(self) -> None:
        """Merge rows of zeros from now on, if that makes batches smaller."""
        needed = max(count_rows_needed(self.draw_member(k, 0)) for k in range(len(self.seeds)))
        self.capacity = needed if needed < 0.95 * len(self.draw_member(0, 0)) else 0

    def draw_stack(self, index: int) -> tuple[Tensor, Tensor]:
        """(K, B, ...) and how many rows each row stands for."""
        drawn = [self.draw_member(k, index) for k in range(len(self.seeds))]
        if not self.capacity:
            x = torch.stack(drawn)
            return x, torch.ones(x.shape[:2], device=self.device, dtype=self.dtype)
        merged = [merge_zero_rows(x, self.capacity) for x in drawn]
        size = max(len(x) for x, _ in merged)
        padded = [(pad_rows(x, size), pad_rows(c, size)) for x, c in merged]
        return torch.stack([x for x, _ in padded]), torch.stack([c for _, c in padded])

    def list_shapes(self, layout: Layout) -> dict[str, tuple[int, ...]]:
        """Shapes of all uniform numbers of a step, by loss and name."""
        jitter = {f"jitter/{s}": (*layout.positions[s], n) for s, n in layout.n.items()}
        shapes = jitter if self.config.jitter else {}
        for name, settings in self.config.losses.items():
            shapes |= {f"{name}/{key}": shape for key, shape in settings.list_noise(layout).items()}
        return shapes

    def draw_noise(self, layout: Layout, index: int) -> Tensor:
        """All uniform numbers of a step, one row per member.

        Each member and name has its own stream, so a batch with more rows gives the first rows the same numbers, and
        members of a stack, which share the longest batch, draw what they draw alone.
        """
        sizes = {name: count_numbers(shape) for name, shape in self.list_shapes(layout).items()}
        noise = torch.empty(len(self.seeds), sum(sizes.values()), dtype=self.dtype)
        stream = torch.Generator()
        for row, seed in zip(noise, self.seeds, strict=True):
            for name, piece in zip(sizes, row.split(list(sizes.values())), strict=True):
                piece.uniform_(generator=stream.manual_seed(derive_seed(seed, f"masks/{name}", index)))
        return noise.to(self.device)

    def split_noise(self, layout: Layout, noise: Tensor) -> dict[str, Tensor]:
        """One member's numbers by name."""
        wanted = self.list_shapes(layout)
        pieces = noise.split([count_numbers(shape) for shape in wanted.values()])
        return {name: p.reshape(shape) for (name, shape), p in zip(wanted.items(), pieces, strict=True)}


def count_numbers(shape: tuple[int, ...]) -> int:
    """The product of the sides."""
    return torch.Size(shape).numel()


def pad_rows(x: Tensor, size: int) -> Tensor:
    """Zeros below, so that batches of one size can be stacked."""
    return x if len(x) == size else torch.cat([x, x.new_zeros(size - len(x), *x.shape[1:])])


# --- rows of zeros -------------------------------------------------------------------------------------------
# All of them say the same: one stands for all, which is exact and makes sparse batches small.


def count_rows_needed(x: Tensor) -> int:
    """Rows that hold nearly every later batch (four standard deviations), rounded; a fuller batch takes more."""
    n = int(find_filled_rows(x).sum(-1).max())
    return min(-(-(n + 1 + int(4 * n**0.5)) // ROUND) * ROUND, x.shape[-2])


def find_filled_rows(x: Tensor) -> Tensor:
    """(...,) which rows of (..., d) have an entry that is not zero."""
    return (x != 0).any(-1)


def merge_zero_rows(x: Tensor, capacity: int) -> tuple[Tensor, Tensor]:
    """From (B, d) to (capacity, d) and how many rows each stands for; more rows when they do not fit."""
    filled = find_filled_rows(x)
    n = int(filled.sum())
    if n >= capacity:
        capacity = min(-(-(n + 1) // ROUND) * ROUND, len(x))
    kept = filled.nonzero()[:, 0]
    merged = x.new_zeros(capacity, x.shape[1])
    merged[:n] = x[kept]
    counts = x.new_zeros(capacity)
    counts[:n] = 1
    if n < len(x):
        counts[n] = len(x) - n
    return merged, counts
