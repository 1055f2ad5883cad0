"""Components that act together, found by merging groups while the description of when they act gets shorter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy
from torch import Tensor

from digsite.decompose.core.masks import USED

Bools = NDArray[np.bool_]
Numbers = NDArray[np.float64] | np.number | float
Label = tuple[str, int]  # module, component


@dataclass(frozen=True)
class Clustering:
    """Groups of components across modules, largest first, and the description length before and after."""

    groups: list[list[Label]]
    bits_apart: float
    bits: float


def cluster_components(importance: dict[str, Tensor], *, threshold: float = USED) -> Clustering:
    """Group the components of all modules by when they act.

    The description says for every group at which positions it acts, and for each of its components at which of these
    positions it does; each yes or no costs its entropy. Merging pays where components act together and costs where
    they do not. (The reference counts log2 of the number of groups per activation instead; that merges independent
    components too, because fewer groups have shorter names.)
    """
    labels, acts = find_active(importance, threshold)
    members, bits_apart, bits = merge_groups(acts)
    groups = [[labels[i] for i in group] for group in members]
    return Clustering(sorted(groups, key=len, reverse=True), bits_apart, bits)


def find_active(importance: dict[str, Tensor], threshold: float) -> tuple[list[Label], Bools]:
    """Which components act at which positions; those that never do are left out."""
    labels, columns = [], []
    for module, values in importance.items():
        on = (values.flatten(0, -2) > threshold).cpu().numpy()
        for c in np.flatnonzero(on.any(0)):
            labels.append((module, int(c)))
            columns.append(on[:, c])
    return labels, np.stack(columns, 1) if columns else np.zeros((0, 0), dtype=bool)


def count_choice_bits(total: Numbers, part: Numbers) -> NDArray[np.float64]:
    """Bits for saying which `part` of `total` positions are meant, at the entropy of their share."""
    rest = np.subtract(total, part)
    return np.asarray(_xlog2x(total) - _xlog2x(part) - _xlog2x(rest))


def _xlog2x(x: Numbers) -> NDArray[np.float64] | np.float64:
    """x log2 x in bits, zero at zero."""
    return xlogy(x, x) / np.log(2)


def count_group_bits(acts: Bools) -> float:
    """The description of one group, given the columns of its members."""
    together = float(acts.any(1).sum())
    return float(
        count_choice_bits(len(acts), together) + count_choice_bits(together, acts.sum(0).astype(float)).sum()
    )


def merge_groups(acts: Bools) -> tuple[list[list[int]], float, float]:
    """Greedily merge the best pair of groups as long as the description gets shorter."""
    groups = [[i] for i in range(acts.shape[1])]
    columns, counts = acts.copy(), acts.sum(0).astype(float)
    apart = bits = sum(count_group_bits(acts[:, group]) for group in groups)
    while len(groups) > 1:
        i, j, gain = _best_pair(columns, groups, counts)
        if gain <= 0:
            break
        bits -= gain
        groups[i] = groups[i] + groups.pop(j)
        columns[:, i] |= columns[:, j]
        columns = np.delete(columns, j, axis=1)
    return groups, apart, bits


def _best_pair(
    columns: Bools, groups: list[list[int]], counts: NDArray[np.float64]
) -> tuple[int, int, float]:
    """The pair whose merge saves most bits; how often groups act together is all that this needs."""
    on = columns.astype(np.float64)
    own = on.sum(0)
    either = own[:, None] + own[None] - on.T @ on
    inside = np.stack(
        [count_choice_bits(either[i][:, None], counts[group][None]).sum(1) for i, group in enumerate(groups)]
    )
    alone = count_choice_bits(len(columns), own) + np.array(
        [count_choice_bits(own[i], counts[group]).sum() for i, group in enumerate(groups)]
    )
    gain = alone[:, None] + alone[None] - (count_choice_bits(len(columns), either) + inside + inside.T)
    gain[np.tril_indices(len(groups))] = -np.inf
    i, j = np.unravel_index(int(gain.argmax()), gain.shape)
    return int(i), int(j), float(gain[i, j])
