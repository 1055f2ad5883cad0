"""Squashing functions from a gate's logit to a causal importance."""

from collections.abc import Callable

from torch import Tensor

from digsite.base.errors import UsageError, name_nearest

LEAK = 0.01
Squash = Callable[[Tensor], Tensor]


def hard(x: Tensor) -> Tensor:
    return x.clamp(0, 1)


def normal(x: Tensor) -> Tensor:
    return x.sigmoid()


def lower_leaky(x: Tensor) -> Tensor:
    """Exactly the hard clamp in value; below zero the gradient leaks, so that a dead component can come back."""
    low = x.clamp(max=0)
    return x.clamp(0, 1) + LEAK * (low - low.detach())


def upper_leaky(x: Tensor) -> Tensor:
    """Above one the value leaks, so that sparsity pressure reaches saturated components."""
    return x.clamp(0, 1) + LEAK * (x - 1).clamp(min=0)


def leaky(x: Tensor) -> Tensor:
    """Leaks in value below zero: masks can be slightly negative, as the method's paper writes it."""
    return x.clamp(0, 1) + LEAK * x.clamp(max=0)


def swish(x: Tensor) -> Tensor:
    """A smooth hard clamp: the difference of two swish functions with slope 10."""
    return x * (10 * x).sigmoid() - (x - 1) * (10 * (x - 1)).sigmoid()


PAIRS: dict[str, tuple[Squash, Squash]] = {
    "leaky_hard": (lower_leaky, upper_leaky),
    "paper": (leaky, upper_leaky),
    "hard": (hard, hard),
    "normal": (normal, normal),
    "swish": (swish, lambda x: swish(x).abs()),
}


def pair(name: str) -> tuple[Squash, Squash]:
    """(for masks, for the sparsity loss)."""
    if name not in PAIRS:
        raise UsageError(f"'{name}' is not a sigmoid. {name_nearest(name, PAIRS)}")
    return PAIRS[name]
