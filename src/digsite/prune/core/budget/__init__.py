"""How much goes where: one file per way to spread a model's sparsity over its maps, the total met exactly.

A member has `allocate(question, settings) -> ratios`, wished sparsities by map name. They need not add up: `meet_exactly`
shifts them by one constant and rounds, so that the number of pruned weights is the one that was asked for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from digsite.base import families
from digsite.base.errors import UsageError, name_nearest

FAMILY = "digsite.prune.core.budget"


class Member(Protocol):
    """What a file of this folder has."""

    allocate: Callable[..., Any]


@dataclass(frozen=True)
class BudgetSettings:
    """Numbers of the allocations."""

    spread: float = 0.2  # most that a map's sparsity may differ from the mean
    threshold: float = 5.0  # OWL: a score is outlying above this many times the layer's mean
    owl_spread: float = 0.08  # OWL: half the range of sparsities over layers
    evaluations: int = 200  # evolution: models that may be tried, the stated budget
    children: int = 8  # evolution: models of a generation
    rows: int = 8  # calibration rows on which a tried model is compared with the dense one
    seed: int = 0


def allocation_named(name: str) -> str:
    """The family member's name; dashes are as good as underscores."""
    known, member = families.list_members(FAMILY), name.replace("-", "_")
    if member not in known:
        raise UsageError(f"There is no allocation '{name}'. {name_nearest(member, known)}")
    return member


def meet_exactly(
    wishes: Mapping[str, float],
    sizes: Mapping[str, int],
    sparsity: float,
    *,
    least: float = 0.0,
    most: float = 1.0,
) -> dict[str, int]:
    """Weights to prune in every map, as close to the wished ratios as one common shift allows; their sum is exact.

    `wishes` are sparsities and `sizes` weights by map name; the sum is `sparsity` of all weights, rounded. Every map
    stays between the sparsities `least` and `most`.
    """
    names = list(wishes)
    size = np.array([sizes[name] for name in names], dtype=np.int64)
    wished = np.array([wishes[name] for name in names], dtype=float)
    target = round(sparsity * int(size.sum()))
    low, high = np.ceil(least * size).astype(np.int64), np.floor(most * size).astype(np.int64)
    if not np.isfinite(wished).all():
        raise UsageError("An allocation wishes for a sparsity that is not a number; nothing was pruned.")
    if not low.sum() <= target <= high.sum():
        raise UsageError(
            f"A sparsity of {sparsity:.2%} cannot be met when every map keeps between {1 - most:.0%} and {1 - least:.0%}.",
            hint="Widen the spread, or choose another sparsity.",
        )
    exact = _shifted(wished, size, target, low, high)
    counts = np.floor(exact).astype(np.int64)
    order = np.argsort(counts - exact, kind="stable")  # the largest remainders first
    room = order[counts[order] < high[order]]
    missing = target - int(counts.sum())
    counts[room[:missing]] += 1
    assert counts.sum() == target, (counts.sum(), target)
    return dict(zip(names, counts.tolist(), strict=True))


def _shifted(
    wished: np.ndarray, size: np.ndarray, target: int, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Real counts with the right sum: the wishes plus one constant, cut to their limits; the constant by bisection."""

    def counts(shift: float) -> np.ndarray:
        return np.clip((wished + shift) * size, low, high)

    below, above = -2.0 - abs(wished).max(), 2.0 + abs(wished).max()
    for _ in range(200):
        middle = (below + above) / 2
        below, above = (middle, above) if counts(middle).sum() < target else (below, middle)
    return np.where(counts(above).sum() > target, counts(below), counts(above))
