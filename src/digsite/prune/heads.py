"""Structure by attention head: are the rows of one head more alike than rows of different heads?"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from digsite.base.errors import UsageError
from digsite.prune.nulls import Observed, margins
from digsite.prune.packed import features_of, pack
from digsite.prune.significance import Test, judge
from digsite.prune.view import View


@dataclass(frozen=True)
class GroupContrast:
    """Mean phi between features of one group less mean phi between features of different groups."""

    inside: float
    outside: float

    @property
    def difference(self) -> float:
        return self.inside - self.outside


def group_labels(n_features: int, n_groups: int) -> Int[np.ndarray, "features"]:
    if n_groups < 2 or n_features % n_groups:
        raise UsageError(f"{n_features} features do not fall into {n_groups} equal groups of two or more.")
    return np.repeat(np.arange(n_groups), n_features // n_groups)


def contrast(view: View, labels: Int[np.ndarray, "features"]) -> GroupContrast:
    same = labels[:, None] == labels[None, :]
    return GroupContrast(float(np.nanmean(view.phi[same])), float(np.nanmean(view.phi[~same])))


def group_test(
    keep: Bool[np.ndarray, "out in"], n_groups: int, axis: str = "rows", draws: int = 99, seed: int = 0
) -> Test:
    """The contrast against masks with the same margins."""
    features = features_of(keep, axis)
    labels = group_labels(features.n_features, n_groups)
    seen = contrast(View(features), labels).difference
    drawn = [
        contrast(View(features_of(d, axis)), labels).difference
        for d in margins.draws(Observed(pack(keep)), draws, seed)
    ]
    return judge("head_contrast", "margins", axis, seen, drawn, "upper")
