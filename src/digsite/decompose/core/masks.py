"""Masks between 'only what is important' and 'everything', and routes that choose which modules are replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Distribution = Literal["uniform", "binomial"]


@dataclass(frozen=True)
class Layout:
    """Which random numbers a batch needs: positions and component count of every site."""

    positions: dict[str, tuple[int, ...]]
    n: dict[str, int]
    delta: bool

    def mask_shape(self, site: str) -> tuple[int, ...]:
        """One number per component, and one more for the residual when it takes part."""
        return (*self.positions[site], self.n[site] + self.delta)

    def shared_axes(self) -> tuple[int, ...]:
        """The leading position axes that all sites have in common."""
        common: list[int] = []
        for sizes in zip(*self.positions.values(), strict=False):
            if len(set(sizes)) > 1:
                break
            common.append(sizes[0])
        return tuple(common)


@dataclass(frozen=True)
class Masks:
    """What to multiply inner activations by; `residual` scales Delta; `routes` mixes with the target's own layer."""

    parts: Mapping[str, Tensor]
    residual: Mapping[str, Tensor] | None = None
    routes: Mapping[str, Tensor] | None = None

    def restrict_sites(self, sites: Sequence[str]) -> Masks:
        """Only these sites are replaced; the others keep the target's own layer."""
        residual = {site: self.residual[site] for site in sites} if self.residual else None
        return Masks({site: self.parts[site] for site in sites}, residual)


def mask_between(
    importance: Mapping[str, Tensor], uniform: Mapping[str, Tensor], distribution: Distribution = "uniform"
) -> Masks:
    """m = g + (1 - g) r with r drawn from [0, 1] or from {0, 1}."""
    draws = {site: (u > 0.5).to(u.dtype) if distribution == "binomial" else u for site, u in uniform.items()}
    parts = {site: g + (1 - g) * draws[site][..., : g.shape[-1]] for site, g in importance.items()}
    has_delta = all(draws[site].shape[-1] > g.shape[-1] for site, g in importance.items())
    return Masks(parts, {site: draw[..., -1:] for site, draw in draws.items()} if has_delta else None)


def draw_routes(uniform: Tensor, sites: list[str]) -> dict[str, Tensor]:
    """At each position a random k of the L modules is replaced, k uniform in 1..L; needs L + 1 numbers a position."""
    size, scores = (uniform[..., :1] * len(sites)).floor() + 1, uniform[..., 1:]
    rank = (scores[..., None, :] < scores[..., :, None]).sum(-1)
    chosen = (rank < size).to(uniform.dtype)
    return {site: chosen[..., i : i + 1] for i, site in enumerate(sites)}
