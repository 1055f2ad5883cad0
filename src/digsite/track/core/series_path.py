"""The way a series of weight vectors takes: is each checkpoint on it, and is each content there once?

A training run is a path. In many dimensions the way over a checkpoint, d(a, c) + d(c, b), is between 1 (a straight line) and 2 (pure
noise around a point) times the way past it, d(a, b), whatever the optimizer and the spacing of steps; a checkpoint that belongs elsewhere
lengthens it. Two numbers are asked together: the detour itself, and how far it lies outside of the other checkpoints' detours, as small
networks move in few dimensions and have wide detours of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

LONG = 1.4  # times the series' typical way over a checkpoint
OUTLYING = 6.0  # robust standard deviations of the logarithm of the ways around it
SUSPECT = 0.5  # of the limit: enough to be asked when a neighbor is over it
AROUND = 9  # checkpoints whose ways are compared: a run is straight early and noisy late
SPREAD = 0.035  # least standard deviation of log ways: series of one kind differ by that much
NEAR = 0.05  # of the links around: a link that short is no training but a rounded copy
TWIN = 0.3  # of its neighbors' links: a checkpoint that near to another is a copy of it
STRANGE = 0.15  # largest correlation of strangers in a few thousand sampled weights of structured layers
WITNESSES = 5  # checkpoints on each side that are asked which of two comes first
DISAGREE = -0.1  # mean log ratio; clean series of twelve architectures had none below -0.06
ENDS = 2.0  # an end has one neighbor: how many times the next link it may be away and still belong


@dataclass(frozen=True)
class OffPath:
    """A checkpoint that lengthens the path: `ratio` ways over it against past it, `typical` those of the series.

    `place` is the index of the checkpoint after which it would fit, or None when it fits nowhere.
    """

    index: int
    ratio: float
    typical: float
    place: int | None


def pairwise_distances(rows: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n n"]:
    """Euclidean distances of sampled weights; exact zeros stay zeros for equal rows.

    rows: one row of sampled and scaled weights per checkpoint. In float64 by differences to the mean row, as
    neighbors late in training differ in the fourth digit.
    """
    centered = rows.astype(np.float64) - rows.mean(0, dtype=np.float64)
    squares = (centered**2).sum(1)
    gram = centered @ centered.T
    distances = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * gram, 0))
    # Below the rounding of the product the difference is taken itself.
    for a, b in np.argwhere(np.triu(distances < 1e-4 * np.sqrt(squares.max() + 1e-300), 1)):
        distances[a, b] = distances[b, a] = float(np.linalg.norm(centered[a] - centered[b]))
    np.fill_diagonal(distances, 0.0)
    return distances


def find_near_equals(distances: Float[np.ndarray, "n n"]) -> list[tuple[int, float]]:
    """(i, ratio) of checkpoints i that hardly differ from the one before, while the links around are of one size.

    distances: of all pairs in step order. ratio: the link beside the shortest of the two before and the two after.
    """
    links = np.diag(distances, 1)
    pairs = []
    for i in range(1, len(links) - 1):
        around = np.r_[links[max(i - 2, 0) : i], links[i + 1 : i + 3]]
        if links[i] < NEAR * around.min():
            pairs.append((i + 1, float(links[i] / around.min())))
    return pairs


def find_twin(distances: Float[np.ndarray, "n n"], index: int, others: Sequence[int]) -> int | None:
    """The checkpoint of which `index` is a rounded copy: nearer to it than its own neighbors are; None mostly.

    distances: of all pairs in step order; others: the indices to compare with, in step order.
    """
    kept = [i for i in others if i != index]
    at = int(np.argmin(distances[index, kept]))
    own = [distances[kept[at], kept[i]] for i in (at - 1, at + 1) if 0 <= i < len(kept)]
    return kept[at] if distances[index, kept[at]] < TWIN * min(own) else None


def find_off_path(distances: Float[np.ndarray, "n n"]) -> list[OffPath]:
    """Checkpoints that do not lie on the way of the others, the worst first.

    distances: of all pairs in step order. One is taken out at a time, as its neighbors look bad as long as it is there.
    """
    left = list(range(len(distances)))
    strays: list[OffPath] = []
    while len(left) >= 5:
        worst = _worst_detour(distances, left)
        if worst is None:
            break
        left.remove(worst.index)
        strays.append(worst)
        if len(strays) > len(distances) // 2:
            break  # more than half do not fit: there is no path, and split_runs says so
    return [OffPath(o.index, o.ratio, o.typical, _best_place(distances, left, o.index)) for o in strays]


def _worst_detour(distances: np.ndarray, left: Sequence[int]) -> OffPath | None:
    """The checkpoint whose way over it is longest beyond what is usual at its place."""
    kept = np.asarray(left)
    inner = distances[np.ix_(kept, kept)]
    logs = np.log(ways_over(inner))
    usual = np.array([_usual_step(logs, i) for i in range(len(logs))])
    excess = logs - usual
    spread = np.array([_excess_spread(excess, i) for i in range(len(logs))])
    limit = np.maximum(OUTLYING * spread, np.log(LONG))
    certain = [i for i in range(len(logs)) if excess[i] > limit[i] and _excess_matters(inner, i + 1)]
    if not certain:
        return None
    # Something is wrong; what is, is the one without which the whole path is shortest. A stranger can make a neighbor's ratio
    # larger than its own, where the run is slowing down.
    detours = np.diag(inner, 1)[:-1] + np.diag(inner, 1)[1:] - np.diag(inner, 2)
    near = {i + k for i in certain for k in range(-2, 3)}
    suspects = [i for i in range(len(logs)) if i in certain or (i in near and excess[i] > SUSPECT * limit[i])]
    at = max(suspects, key=lambda i: detours[i])
    return OffPath(int(kept[at + 1]), float(np.exp(logs[at])), float(np.exp(usual[at])), None)


def _usual_step(logs: np.ndarray, at: int) -> float:
    """The median of the nearest ways, as many at the ends as in the middle, without the one in question."""
    start = min(max(at - AROUND // 2, 0), max(len(logs) - AROUND, 0))
    return float(np.median(np.delete(logs[start : start + AROUND], at - start)))


def _excess_spread(excess: np.ndarray, at: int) -> float:
    """A robust standard deviation of the nearest excesses; half of the whole series' where those happen to agree."""
    width = 2 * AROUND
    start = min(max(at - AROUND, 0), max(len(excess) - width, 0))
    near = 1.4826 * float(np.median(np.abs(np.delete(excess[start : start + width], at - start))))
    return max(near, 0.5 * 1.4826 * float(np.median(np.abs(excess))), SPREAD)


def _excess_matters(distances: np.ndarray, at: int) -> bool:
    """The excess is no matter of links near zero: where nothing moves, ratios are of rounding errors."""
    links = np.diag(distances, 1)
    around = links[max(at - AROUND // 2, 0) : at + AROUND // 2]
    return bool(max(links[at - 1], links[at]) > 0.2 * np.median(around))


def ways_over(distances: Float[np.ndarray, "n n"]) -> Float[np.ndarray, " m"]:
    """For each checkpoint but the first and last, the way over it divided by the way past it.

    distances: of all pairs in step order.
    """
    i = np.arange(1, len(distances) - 1)
    past = distances[i - 1, i + 1]
    floor = 1e-6 * max(float(distances.max()), 1e-300)
    over = distances[i - 1, i] + distances[i, i + 1]
    return np.maximum(over, floor) / np.maximum(past, floor)


def _best_place(distances: np.ndarray, left: Sequence[int], index: int) -> int | None:
    """After which of those left it would fit best; None when the best way over it is still a long one."""
    if len(left) < 3:
        return None
    kept = np.asarray(left)
    past = distances[kept[:-1], kept[1:]]
    over = distances[kept[:-1], index] + distances[index, kept[1:]]
    ratio = over / np.maximum(past, 1e-300)
    at = int(np.argmin(over - past))
    typical = float(np.median(ways_over(distances[np.ix_(kept, kept)]))) if len(kept) > 2 else 1.5
    return int(kept[at]) if ratio[at] < 1.6 * max(typical, 1.0) else None


def order_agreement(distances: Float[np.ndarray, "n n"]) -> Float[np.ndarray, " m"]:
    """For each two neighbors, how well the others confirm their order: mean log ratio of distances, positive when right.

    distances: of all pairs in step order. What comes before both should be nearer to the first, what comes after nearer to
    the second. In series of ten architectures the value is about 0.3; with batch noise larger than the way between two
    checkpoints it comes near 0 and order cannot be told; two that are exchanged have the negative of their value.
    """
    n = len(distances)
    tiny = 1e-9 * max(float(distances.max()), 1e-300)
    agreement = np.full(n - 1, np.inf)
    for i in range(1, n - 2):
        others = [k for k in range(max(i - WITNESSES, 0), min(i + 2 + WITNESSES, n)) if k not in (i, i + 1)]
        ratios = np.log((distances[others, i + 1] + tiny) / (distances[others, i] + tiny))
        agreement[i] = float(np.mean(np.where(np.asarray(others) < i, ratios, -ratios)))
    return agreement


def sort_path(distances: Float[np.ndarray, "n n"]) -> list[int]:
    """The order of indices that all neighbors confirm, by exchanging the two that disagree most as long as any do.

    distances: of all pairs in step order. An undisturbed series comes back as it is.
    """
    order = list(range(len(distances)))
    for _ in range(len(order) ** 2 if len(order) > 4 else 0):
        agreement = order_agreement(distances[np.ix_(order, order)])
        i = int(agreement.argmin())
        if agreement[i] > DISAGREE:
            break
        order[i], order[i + 1] = order[i + 1], order[i]
    return order


def find_loose_ends(
    distances: Float[np.ndarray, "n n"], related: Float[np.ndarray, "n n"]
) -> list[tuple[int, str]]:
    """First and last checkpoint, each with the reason why it does not continue the series; mostly none.

    distances: of all pairs in step order. related: correlations of sampled weights (1 for equal direction, 0 for
    strangers). An end has one neighbor and so no detour: it is loose when a far checkpoint is nearer to it than its
    neighbor, or when it is a stranger to all while the others know each other.
    """
    n = len(distances)
    if n < 4:
        return []
    loose = []
    for end, order in ((0, np.arange(1, n)), (n - 1, np.arange(n - 2, -1, -1))):
        link, far = distances[end, order[0]], distances[end, order[2:]]
        known = np.delete(np.delete(related, end, 0), end, 1)
        neighbors = np.median(np.diag(known, 1))
        stranger = np.abs(related[end, order]).max() < STRANGE and neighbors > 0.6
        next_link = distances[order[0], order[1]]
        if stranger:
            loose.append((end, "has nothing in common with any other checkpoint"))
        elif far.min() < 0.6 * link and link > ENDS * next_link:
            loose.append((end, "is nearer to distant steps than to its neighbor"))
    return loose


def split_runs(related: Float[np.ndarray, "n n"]) -> list[list[int]]:
    """Groups of at least two checkpoints that know each other and are strangers to all other groups, largest first.

    related: correlations of sampled weights. One group is the ordinary case; two are two trainings in one folder, in any
    order. Checkpoints that know nobody are in no group: a single one is found by its detour.
    """
    n = len(related)
    label = np.arange(n)
    for a, b in np.argwhere(np.triu(np.abs(related) > 0.3, 1)):
        label[label == label[b]] = label[a]
    groups = [np.flatnonzero(label == name).tolist() for name in np.unique(label)]
    groups = sorted((g for g in groups if len(g) > 1), key=len, reverse=True)
    for a in range(1, len(groups)):
        if np.abs(related[np.ix_(groups[0], groups[a])]).max() > STRANGE:
            return [sorted(i for g in groups for i in g)]
    return groups


def find_restart(distances: Float[np.ndarray, "n n"]) -> tuple[int, int] | None:
    """(i, k): after index i the series goes back to near index k and goes on from there; None for one way.

    distances: of all pairs in step order. A link that is long beside those around it can be an event of training; one that
    leads back towards an early checkpoint is a second start.
    """
    links = np.array([distances[i, i + 1] for i in range(len(distances) - 1)])
    for i in range(3, len(links) - 1):
        around = np.r_[links[i - 2 : i], links[i + 1 : i + 3]]
        back = distances[i + 1, : i - 1]
        if links[i] > 2 * around.max() and back.min() < 0.6 * links[i]:
            return i, int(back.argmin())
    return None
