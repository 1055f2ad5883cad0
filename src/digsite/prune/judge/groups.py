"""Means of many masks by method and by projection, and whether groups differ by more than relabeled masks would."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import false_discovery_control

from digsite.base.intervals import seed_interval

BY = {"method": "method", "component": "projection"}
MEASURES = {
    "hamming nearest": "distance to the nearest feature",
    "hamming farthest": "distance to the farthest feature",
    "separation": "separation of clusters",
    "silhouette": "silhouette",
    "margins' share of variance": "variance that densities explain",
}
RELABELED = 1999  # the smallest p is .0005, below what ten tests ask at 5 %


@dataclass(frozen=True)
class GroupMean:
    """One measure over the masks of one group; with two masks or fewer there is no interval."""

    by: str
    group: str
    measure: str
    n: int
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class GroupDifference:
    """The range of a measure's group means, what relabeled masks give, and q over all such tests of the report."""

    by: str
    measure: str
    spread: float
    null: float
    p: float
    q: float
    lowest: str
    highest: str


def average_groups(rows: Sequence[Mapping[str, Any]]) -> list[GroupMean]:
    """`rows`: one mask each, with its method, component and measures, as the report's table has them."""
    means = []
    for by in BY:
        for group in dict.fromkeys(str(row[by]) for row in rows):
            for measure in MEASURES:
                own = [float(row[measure]) for row in rows if str(row[by]) == group]
                own = [value for value in own if np.isfinite(value)]
                if own:
                    over = seed_interval(own, "mean")
                    mean = float(np.mean(own))
                    means.append(GroupMean(by, group, measure, len(own), mean, over.low, over.high))
    return means


def compare_groups(rows: Sequence[Mapping[str, Any]], seed: int) -> list[GroupDifference]:
    """Every measure by method and by projection, where there are two groups and one of them has two masks.

    Methods are relabeled within a projection and projections within a method: what one explains is no evidence for
    the other. A mask without the measure (all its clusters are single features) is left out. `seed`: of the relabeling.
    """
    rng, differences = np.random.default_rng(seed), []
    for by, other in (("method", "component"), ("component", "method")):
        for measure in MEASURES:
            own = [row for row in rows if np.isfinite(row[measure])]
            labels = np.array([str(row[by]) for row in own])
            if 2 <= len(set(labels)) < len(own):
                values = np.array([float(row[measure]) for row in own])
                blocks = np.array([str(row[other]) for row in own])
                differences.append((by, measure, *_relabel_groups(values, labels, blocks, rng)))
    q = false_discovery_control([p for *_, p in differences]) if differences else []
    return [
        GroupDifference(
            by, measure, spread, null, p, float(own), min(means, key=means.get), max(means, key=means.get)
        )
        for (by, measure, means, spread, null, p), own in zip(differences, q, strict=True)
    ]


def _relabel_groups(
    values: np.ndarray, labels: np.ndarray, blocks: np.ndarray, rng: np.random.Generator
) -> tuple[dict[str, float], float, float, float]:
    """Group means, their range, the mean range of relabeled masks, and the share of these that reach it."""
    means = _group_means(values, labels)
    seen = max(means.values()) - min(means.values())
    drawn = []
    for _ in range(RELABELED):
        mixed = labels.copy()
        for block in np.unique(blocks):
            where = np.flatnonzero(blocks == block)
            mixed[where] = labels[rng.permutation(where)]
        shuffled = _group_means(values, mixed).values()
        drawn.append(max(shuffled) - min(shuffled))
    reached = int(np.sum(np.array(drawn) >= seen - 1e-12))
    return means, seen, float(np.mean(drawn)), (1 + reached) / (1 + RELABELED)


def _group_means(values: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return {str(label): float(values[labels == label].mean()) for label in np.unique(labels)}


def tell_groups(differences: Sequence[GroupDifference], level: float) -> list[str]:
    """The insights in sentences, one a test; what the original called an insight was a ratio above a fixed number."""
    if not differences:
        return ["Methods and projections are not compared: that takes two of them, and two masks of one."]
    return [
        f"By {BY[difference.by]}, {MEASURES[difference.measure]}: "
        + (
            f"lowest for '{difference.lowest}', highest for '{difference.highest}', {difference.spread:.3g} apart where relabeled masks are "
            f"{difference.null:.3g} (q = {difference.q:.2g})"
            if difference.q <= level
            else f"no difference that relabeled masks would not show (q = {difference.q:.2g})"
        )
        for difference in differences
    ]
