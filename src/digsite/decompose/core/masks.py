"""From logits to importances, and masks between 'only what is important' and 'everything'; loads without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from digsite.base.errors import UsageError, name_nearest

if TYPE_CHECKING:
    from torch import Tensor

USED = 0.1  # a component counts as used where its importance is above this
LEAK = 0.01
Squash = Callable[["Tensor"], "Tensor"]

Distribution = Literal["uniform", "binomial"]


@dataclass(frozen=True)
class Importance:
    """Causal importances of every component at every position, (..., C) by site."""

    lower: dict[str, Tensor]
    upper: dict[str, Tensor]


def squash_logits(
    logits: dict[str, Tensor], sigmoid: str, jitter: dict[str, Tensor] | None = None
) -> Importance:
    """Importances of logits (..., C) by site; `jitter` (uniform numbers) spreads them a little, as binomial masks need."""
    if jitter:
        logits = {site: 1.05 * value - 0.05 * jitter[site] for site, value in logits.items()}
    lower, upper = find_sigmoids(sigmoid)
    return Importance(
        {site: lower(value) for site, value in logits.items()},
        {site: upper(value) for site, value in logits.items()},
    )


def find_used(importance: Tensor, threshold: float = USED) -> Tensor:
    """(..., C) whether a component is used at a position: the one meaning of the word in this room."""
    return importance > threshold


def count_l0(importance: Tensor, threshold: float = USED) -> float:
    """Components that are used at a position, on average over positions of an importance (..., C)."""
    return float(find_used(importance, threshold).sum(-1).float().mean())


def find_alive(importance: Tensor, threshold: float = USED) -> Tensor:
    """(C,) whether a component is used at any position of an importance (..., C)."""
    return find_used(importance, threshold).flatten(0, -2).any(0)


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


# --- squashing functions from a gate's logit to a causal importance -------------------------------------------


def clamp_hard(x: Tensor) -> Tensor:
    """To [0, 1], without a slope outside."""
    return x.clamp(0, 1)


def leak_gradient(x: Tensor) -> Tensor:
    """Exactly the hard clamp in value; below zero the gradient leaks, so that a dead component can come back."""
    low = x.clamp(max=0)
    return x.clamp(0, 1) + LEAK * (low - low.detach())


def leak_above(x: Tensor) -> Tensor:
    """Above one the value leaks, so that sparsity pressure reaches saturated components."""
    return x.clamp(0, 1) + LEAK * (x - 1).clamp(min=0)


def leak_below(x: Tensor) -> Tensor:
    """Leaks in value below zero: masks can be slightly negative, as the method's paper writes it."""
    return x.clamp(0, 1) + LEAK * x.clamp(max=0)


def clamp_smoothly(x: Tensor) -> Tensor:
    """A smooth hard clamp: the difference of two swish functions with slope 10."""
    return x * (10 * x).sigmoid() - (x - 1) * (10 * (x - 1)).sigmoid()


SIGMOIDS: dict[str, tuple[Squash, Squash]] = {  # (for masks, for the sparsity loss)
    "leaky_hard": (leak_gradient, leak_above),
    "paper": (leak_below, leak_above),
    "hard": (clamp_hard, clamp_hard),
    "normal": (lambda x: x.sigmoid(), lambda x: x.sigmoid()),
    "swish": (clamp_smoothly, lambda x: clamp_smoothly(x).abs()),
}


def find_sigmoids(name: str) -> tuple[Squash, Squash]:
    """The two functions of a name: for masks, and for the sparsity loss."""
    if name not in SIGMOIDS:
        raise UsageError(f"'{name}' is not a sigmoid. {name_nearest(name, SIGMOIDS)}")
    return SIGMOIDS[name]
