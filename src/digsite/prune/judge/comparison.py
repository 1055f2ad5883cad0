"""Two masks of one matrix: how much they agree beyond what their row and column densities force."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from digsite.base.errors import UsageError


@dataclass(frozen=True)
class Overlap:
    """`kappa` is 0 where the overlap is what independent masks with these margins have, 1 where one contains the other."""

    jaccard: float
    agreement: float  # share of positions on which both say the same
    expected_jaccard: float
    kappa: float
    shared: int
    expected: float


def overlap(a: Bool[np.ndarray, "out in"], b: Bool[np.ndarray, "out in"]) -> Overlap:
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
        y[live_columns] *= _ratio(columns[live_columns] - full_rows, (odds / (1 + odds)).sum(axis=0))
        odds = x[live_rows, None] * y[None, live_columns]
        step = _ratio(rows[live_rows] - full_columns, (odds / (1 + odds)).sum(axis=1))
        x[live_rows] *= step
        if np.abs(step - 1).max(initial=0) < 1e-9:
            break
    probability = np.zeros(keep.shape)
    odds = x[live_rows, None] * y[None, live_columns]
    probability[np.ix_(live_rows, live_columns)] = odds / (1 + odds)
    probability[rows == n_columns, :] = 1.0
    probability[:, columns == n_rows] = 1.0
    return probability


def _ratio(wanted: np.ndarray, given: np.ndarray) -> np.ndarray:
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
