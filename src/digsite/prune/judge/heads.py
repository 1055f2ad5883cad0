"""Structure by attention head: are the rows of one head more alike than rows of different heads?"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int
from torch import nn

from digsite.base.errors import UsageError
from digsite.prune.core.packed import orient_features, pack
from digsite.prune.judge.nulls import ObservedMask
from digsite.prune.judge.nulls.random_masks import Margins
from digsite.prune.judge.statistics import MaskView
from digsite.prune.judge.verdict import NullTest, judge_statistic


@dataclass(frozen=True)
class GroupContrast:
    """Mean phi between features of one group less mean phi between features of different groups."""

    inside: float
    outside: float

    @property
    def difference(self) -> float:
        """Distance inside of heads less that between them: negative where heads are alike within."""
        return self.inside - self.outside


@dataclass(frozen=True)
class HeadCounts:
    """Heads of a layer; keys and values may have fewer."""

    queries: int
    shared: int  # key and value heads


def head_counts(model: nn.Module) -> HeadCounts:
    """Where the model says how many it has; 0 otherwise."""
    config = getattr(model, "config", None)
    queries = getattr(config, "n_heads", getattr(config, "num_attention_heads", 0))
    return HeadCounts(queries, getattr(config, "n_kv_heads", getattr(config, "num_key_value_heads", queries)))


def structure_of(name: str, heads: HeadCounts) -> list[tuple[int, str, int]]:
    """The tests that the map of a name allows: number of groups, axis, parts of the groups."""
    last = name.rsplit(".", 1)[-1]
    parts = {
        "q_proj": [(heads.queries, "rows", 0), (heads.shared, "rows", heads.queries)],
        "k_proj": [(heads.shared, "rows", 0)],
        "v_proj": [(heads.shared, "rows", 0)],
        "o_proj": [(heads.queries, "columns", 0)],
    }.get(last, [])
    return [part for part in parts if part[0] > 1 and part[0] != part[2]]


def group_labels(n_features: int, n_groups: int) -> Int[np.ndarray, "features"]:
    """Equal runs of neighboring features, as heads lie in a projection."""
    if n_groups < 2 or n_features % n_groups:
        raise UsageError(f"{n_features} features do not fall into {n_groups} equal groups of two or more.")
    return np.repeat(np.arange(n_groups), n_features // n_groups)


def contrast_groups(
    view: MaskView, labels: Int[np.ndarray, "features"], parts: Int[np.ndarray, "features"] | None = None
) -> GroupContrast:
    """With `parts`, pairs inside one part of a group are left out of both means."""
    same = labels[:, None] == labels[None, :]
    inside = same if parts is None else same & (parts[:, None] != parts[None, :])
    return GroupContrast(float(np.nanmean(view.phi[inside])), float(np.nanmean(view.phi[~same])))


def group_test(
    keep: Bool[np.ndarray, "out in"],
    n_groups: int,
    axis: str = "rows",
    draws: int = 99,
    seed: int = 0,
    n_parts: int = 0,
) -> NullTest:
    """The contrast against masks with the same margins.

    With `n_parts`, groups are made of parts: query heads that share a key and value head, compared head with head.
    """
    features = orient_features(keep, axis)
    labels = group_labels(features.n_features, n_groups)
    parts = group_labels(features.n_features, n_parts) if n_parts else None
    seen = contrast_groups(MaskView(features), labels, parts).difference
    drawn = [
        contrast_groups(MaskView(orient_features(d, axis)), labels, parts).difference
        for d in Margins().draw_masks(ObservedMask(pack(keep)), draws, seed)
    ]
    return judge_statistic(
        "shared_head_contrast" if n_parts else "head_contrast", "margins", axis, seen, drawn, "upper"
    )
