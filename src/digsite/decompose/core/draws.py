"""Batches and random numbers of K members, each from its own named streams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from digsite.base.streams import derive_seed
from digsite.decompose.config import LOSSES, DecomposeConfig
from digsite.decompose.core import rows
from digsite.decompose.core.masks import Layout

Sampler = Callable[[torch.Generator], Tensor]  # one batch (B, ...) from a generator


def generator(seed: int, name: str, *indices: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(seed, name, *indices))


@dataclass
class Draws:
    sample: Sampler
    seeds: Sequence[int]
    config: DecomposeConfig
    device: torch.device
    dtype: torch.dtype
    capacity: int = 0  # rows of a batch whose rows of zeros are merged; 0 = all rows as they are

    def one(self, k: int, index: int) -> Tensor:
        x = self.sample(generator(self.seeds[k], "data", index)).to(self.device)
        return x.to(self.dtype) if x.is_floating_point() else x

    def make_room(self) -> None:
        """Merge rows of zeros from now on, if that makes batches smaller."""
        needed = max(rows.rows_needed(self.one(k, 0)) for k in range(len(self.seeds)))
        self.capacity = needed if needed < 0.95 * len(self.one(0, 0)) else 0

    def batch(self, index: int) -> tuple[Tensor, Tensor]:
        """(K, B, ...) and how many rows each row stands for."""
        drawn = [self.one(k, index) for k in range(len(self.seeds))]
        if not self.capacity:
            x = torch.stack(drawn)
            return x, torch.ones(x.shape[:2], device=self.device, dtype=self.dtype)
        merged = [rows.merge_zero_rows(x, self.capacity) for x in drawn]
        size = max(len(x) for x, _ in merged)
        padded = [(_pad(x, size), _pad(c, size)) for x, c in merged]
        return torch.stack([x for x, _ in padded]), torch.stack([c for _, c in padded])

    def wanted(self, layout: Layout) -> dict[str, tuple[int, ...]]:
        """Shapes of all uniform numbers of a step, by loss and name."""
        jitter = {f"jitter/{s}": (*layout.positions[s], n) for s, n in layout.n.items()}
        shapes = jitter if self.config.jitter else {}
        for name, settings in self.config.losses.items():
            found = LOSSES[settings.kind].noise(settings, layout)
            shapes |= {f"{name}/{key}": shape for key, shape in found.items()}
        return shapes

    def noise(self, layout: Layout, index: int) -> Tensor:
        """All uniform numbers of a step, one row per member.

        Each member and name has its own stream, so a batch with more rows gives the first rows the same numbers, and
        members of a stack, which share the longest batch, draw what they draw alone.
        """
        sizes = {name: _count(shape) for name, shape in self.wanted(layout).items()}
        noise = torch.empty(len(self.seeds), sum(sizes.values()), dtype=self.dtype)
        stream = torch.Generator()
        for row, seed in zip(noise, self.seeds, strict=True):
            for name, piece in zip(sizes, row.split(list(sizes.values())), strict=True):
                piece.uniform_(generator=stream.manual_seed(derive_seed(seed, f"masks/{name}", index)))
        return noise.to(self.device)

    def split(self, layout: Layout, noise: Tensor) -> dict[str, Tensor]:
        """One member's numbers by name."""
        wanted = self.wanted(layout)
        pieces = noise.split([_count(shape) for shape in wanted.values()])
        return {name: p.reshape(shape) for (name, shape), p in zip(wanted.items(), pieces, strict=True)}


def _count(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()


def _pad(x: Tensor, size: int) -> Tensor:
    return x if len(x) == size else torch.cat([x, x.new_zeros(size - len(x), *x.shape[1:])])
