"""From a gate's logits to causal importances: lower (for masks) and upper (for the sparsity loss)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from digsite.base.errors import UsageError, name_nearest

USED = 0.1  # a component counts as used where its importance is above this
LEAK = 0.01
Squash = Callable[[Tensor], Tensor]


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


def clamp_hard(x: Tensor) -> Tensor:
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
    "normal": (Tensor.sigmoid, Tensor.sigmoid),
    "swish": (clamp_smoothly, lambda x: clamp_smoothly(x).abs()),
}


def find_sigmoids(name: str) -> tuple[Squash, Squash]:
    """The two functions of a name: for masks, and for the sparsity loss."""
    if name not in SIGMOIDS:
        raise UsageError(f"'{name}' is not a sigmoid. {name_nearest(name, SIGMOIDS)}")
    return SIGMOIDS[name]
