"""Two masks of one matrix: how much they agree beyond what their densities force, and whether the same clusters come back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.prune.core.clusters import cluster_distances, find_neighborhood
from digsite.prune.core.hamming import measure_distances
from digsite.prune.core.packed import PackedMask


@dataclass(frozen=True)
class Overlap:
    """`kappa` is 0 where the overlap is what independent masks with these margins have, 1 where one contains the other."""

    jaccard: float
    agreement: float  # share of positions on which both say the same
    expected_jaccard: float
    kappa: float
    shared: int
    expected: float


def measure_overlap(a: Bool[np.ndarray, "out in"], b: Bool[np.ndarray, "out in"]) -> Overlap:
    """`a` and `b` are masks of one matrix. Chance is not density squared: two masks that both empty a column
    agree there anyway.
    """
    if a.shape != b.shape:
        raise UsageError(f"The masks have different shapes, {a.shape} and {b.shape}.")
    shared, total = int((a & b).sum()), int(a.sum()) + int(b.sum())
    expected = float((expected_keep(a) * expected_keep(b)).sum())
    most = min(int(a.sum()), int(b.sum()))
    return Overlap(
        jaccard=shared / (total - shared) if total else 1.0,
        agreement=float((a == b).mean()),
        expected_jaccard=expected / (total - expected) if total else 1.0,
        kappa=(shared - expected) / (most - expected) if most > expected else 0.0,
        shared=shared,
        expected=expected,
    )


def expected_keep(keep: Bool[np.ndarray, "out in"], rounds: int = 100) -> Float[np.ndarray, "out in"]:
    """Keep probabilities that a mask with these margins has on average: the maximum-entropy model x_i y_j / (1 + x_i y_j).

    r_i c_j / total would exceed 1 where rows or columns are nearly full.
    """
    rows, columns = keep.sum(axis=1).astype(float), keep.sum(axis=0).astype(float)
    n_rows, n_columns = keep.shape
    x = np.where(rows >= n_columns, np.inf, rows / np.maximum(n_columns - rows, 1e-300))
    y = np.ones(n_columns)
    live_rows, live_columns = (rows > 0) & (rows < n_columns), (columns > 0) & (columns < n_rows)
    full_rows, full_columns = int((rows == n_columns).sum()), int((columns == n_rows).sum())
    for _ in range(rounds):
        odds = x[live_rows, None] * y[None, live_columns]
        y[live_columns] *= _divide_safely(columns[live_columns] - full_rows, (odds / (1 + odds)).sum(axis=0))
        odds = x[live_rows, None] * y[None, live_columns]
        step = _divide_safely(rows[live_rows] - full_columns, (odds / (1 + odds)).sum(axis=1))
        x[live_rows] *= step
        if np.abs(step - 1).max(initial=0) < 1e-9:
            break
    probability = np.zeros(keep.shape)
    odds = x[live_rows, None] * y[None, live_columns]
    probability[np.ix_(live_rows, live_columns)] = odds / (1 + odds)
    probability[rows == n_columns, :] = 1.0
    probability[:, columns == n_rows] = 1.0
    return probability


def _divide_safely(wanted: np.ndarray, given: np.ndarray) -> np.ndarray:
    """One where nothing was given."""
    return np.divide(wanted, given, out=np.ones_like(wanted), where=given > 0)


@dataclass(frozen=True)
class FeatureAgreement:
    """Per feature: Jaccard, cosine and Hamming distance (share of positions) between two masks."""

    jaccard: Float[np.ndarray, "features"]
    cosine: Float[np.ndarray, "features"]
    hamming: Float[np.ndarray, "features"]


def per_feature(
    a: Bool[np.ndarray, "out in"], b: Bool[np.ndarray, "out in"], axis: str = "columns"
) -> FeatureAgreement:
    """Jaccard, cosine and distance of every feature of two masks."""
    along = 0 if axis == "columns" else 1
    shared, kept_a, kept_b = (m.sum(axis=along).astype(float) for m in (a & b, a, b))
    union = kept_a + kept_b - shared
    return FeatureAgreement(
        np.divide(shared, union, out=np.ones_like(shared), where=union > 0),
        np.divide(shared, np.sqrt(kept_a * kept_b), out=np.zeros_like(shared), where=kept_a * kept_b > 0),
        (a != b).mean(axis=along),
    )


def keep_probability(draws: list[Bool[np.ndarray, "out in"]]) -> Float[np.ndarray, "out in"]:
    """How often each weight stays over independent calibration sets."""
    return np.mean([keep.astype(np.float32) for keep in draws], axis=0)


def decided_by_data(draws: list[Bool[np.ndarray, "out in"]]) -> float:
    """Share of positions on which all calibration sets agree; the rest is noise of the calibration."""
    probability = keep_probability(draws)
    return float(((probability == 0) | (probability == 1)).mean())


# Do clusters come back: from other positions of the same mask, and from the mask of another calibration set?


@dataclass(frozen=True)
class AskedClusters:
    """Which clusters: those of the mask study."""

    centers: Sequence[int]
    size: int
    k_values: Sequence[int]
    method: str = "kmeans"
    n_init: int = 10
    seed: int = 0


def measure_stability(
    features: PackedMask, others: Sequence[PackedMask], asked: AskedClusters, bootstraps: int
) -> dict[str, Float[np.ndarray, "ks"]]:
    """Mean adjusted Rand index, over centers, with clusters of `bootstraps` resampled positions and of other masks.

    The features clustered are the center's neighbors in the first mask, every time.
    """
    rng = np.random.default_rng(asked.seed)
    rows: dict[str, list] = {"bootstrap": [], "calibration": []}
    for position, center in enumerate(asked.centers):
        members = find_neighborhood(features, int(center), asked.size).members
        bits = features.take(members).unpack()
        first = _label_clusters(measure_distances(features.take(members)), asked, position)
        again = {
            "bootstrap": [
                _label_clusters(resample_distances(bits, rng), asked, position) for _ in range(bootstraps)
            ],
            "calibration": [
                _label_clusters(measure_distances(repeat.take(members)), asked, position) for repeat in others
            ],
        }
        for kind, repeats in again.items():
            rows[kind] += [[adjusted_rand_score(a, b) for a, b in zip(first, repeat)] for repeat in repeats]
    return {kind: np.mean(values, axis=0) for kind, values in rows.items() if values}


def resample_distances(bits: Bool[np.ndarray, "n bits"], rng: np.random.Generator) -> Int[np.ndarray, "n n"]:
    """Hamming distances over positions drawn with replacement."""
    n_bits = bits.shape[1]
    times = rng.multinomial(n_bits, np.full(n_bits, 1 / n_bits)).astype(np.float32)
    kept = bits.astype(np.float32)
    only = (kept * times) @ (1 - kept).T  # kept by the first alone
    return np.rint(only + only.T).astype(np.int64)


def _label_clusters(distances: np.ndarray, asked: AskedClusters, position: int) -> list[np.ndarray]:
    """One labeling for each k."""
    return [
        cluster_distances(
            distances, k, asked.method, n_init=asked.n_init, seed=asked.seed + 1000 * position + k
        ).labels
        for k in asked.k_values
    ]


Masks = Mapping[str, Bool[Tensor, "out in"]]


@dataclass(frozen=True)
class MaskTruth:
    """`precision`: share of needed weights among the kept that are needed or idle; `recall`: share of the needed that are
    kept; `chance`: the precision of a mask that keeps as many at random. `kept` counts needed and idle weights."""

    precision: float
    recall: float
    chance: float
    kept: int


def score_mask(keep: Masks, needed: Masks, idle: Masks) -> MaskTruth:
    """Pooled over all maps; zeros of the dense network are neither needed nor idle and are not counted."""
    hits = sum(int((keep[name] & needed[name]).sum()) for name in needed)
    false = sum(int((keep[name] & idle[name]).sum()) for name in needed)
    n_needed = sum(int(mask.sum()) for mask in needed.values())
    n_idle = sum(int(mask.sum()) for mask in idle.values())
    return MaskTruth(
        hits / max(hits + false, 1),
        hits / max(n_needed, 1),
        n_needed / max(n_needed + n_idle, 1),
        hits + false,
    )


def right_counts(needed: Masks, slack: float = 1.0) -> dict[str, int]:
    """Weights to prune in every map so that `slack` times as many stay as are needed there."""
    return {
        name: mask.numel() - min(mask.numel(), round(slack * int(mask.sum())))
        for name, mask in needed.items()
    }


def share_answered(said: Tensor, wanted: Tensor) -> float:
    """Positions behind the first at which the largest output is the same as the program's."""
    return float((said.argmax(-1) == wanted.argmax(-1))[:, 1:].float().mean())


def random_mask(
    needed: Masks, idle: Masks, counts: Mapping[str, int], draw: torch.Generator
) -> dict[str, Tensor]:
    """The null: as many weights of every map as a pruner keeps, drawn among those that are not zero anyway."""
    masks = {}
    for name, mask in needed.items():
        score = torch.rand(mask.shape, generator=draw) + (mask | idle[name])
        n = mask.numel() - counts[name]
        chosen = torch.zeros(mask.numel(), dtype=torch.bool)
        chosen[score.flatten().topk(n).indices] = True
        masks[name] = chosen.view(mask.shape)
    return masks
