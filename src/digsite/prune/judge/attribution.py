"""Where a mask comes from: densities first, then shares of its variance that rows, columns and weight magnitude explain."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata

BINS = 64


@dataclass(frozen=True)
class Attribution:
    """Shares of Var(M) that add up to 1: which output, which input, how large the weight, and the rest.

    The rest holds what is neither: for a mask without weight updates it is interaction, since column effect and
    magnitude act together on which weights a row gives up.
    """

    rows: float
    columns: float
    magnitude: float
    joint: float
    residual: float


def attribute_mask(keep: Bool[np.ndarray, "out in"], weight: Float[np.ndarray, "out in"]) -> Attribution:
    """Row means, column means, then magnitude rank inside the row, then rank and column together."""
    mask = keep.astype(np.float64)
    variance = mask.var()
    if variance == 0:
        return Attribution(0.0, 0.0, 0.0, 0.0, 0.0)
    rows, columns = mask.mean(axis=1, keepdims=True), mask.mean(axis=0, keepdims=True)
    rest = mask - rows - columns + mask.mean()
    rank = rankdata(np.abs(weight), axis=1) / weight.shape[1]
    after_rank = rest - _explain_by(rest, rank)
    # Magnitude beside column density: a cut at |w| * norm is a surface in both, which their sum cannot bend to.
    after_both = after_rank - _explain_jointly(after_rank, rank, np.broadcast_to(columns, mask.shape))
    return Attribution(
        rows=float(rows.var() / variance),
        columns=float(columns.var() / variance),
        magnitude=float((rest.var() - after_rank.var()) / variance),
        joint=float((after_rank.var() - after_both.var()) / variance),
        residual=float(after_both.var() / variance),
    )


def _explain_by(values: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Means in equally filled bins of `by`."""
    return _bin_means(values, _find_bins(by, BINS))


def _explain_jointly(values: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Means of cells of two variables: what both explain together, interaction included."""
    side = 16  # 256 cells keep the fit's own degrees of freedom small beside the number of weights
    return _bin_means(values, _find_bins(first, side) * side + _find_bins(second, side))


def _find_bins(by: np.ndarray, n: int) -> np.ndarray:
    """Bins of equal counts."""
    edges = np.quantile(by, np.linspace(0, 1, n + 1)[1:-1])
    return np.searchsorted(edges, by.ravel(), side="right")


def _bin_means(values: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Each value replaced by the mean of its bin."""
    counts = np.bincount(bins)
    sums = np.bincount(bins, values.ravel())
    return (sums / np.maximum(counts, 1))[bins].reshape(values.shape)


# Densities first: how full rows and columns are, and how much of the mask that alone explains.


@dataclass(frozen=True)
class Densities:
    """Shares of Var(M) are of the additive model: row means, then column means; `margins` is both."""

    density: float
    rows: tuple[float, float]  # 5 % and 95 % of row densities
    columns: tuple[float, float]
    row_share: float
    column_share: float

    @property
    def margins(self) -> float:
        """Variance that the row and column densities explain together: they are orthogonal."""
        return self.row_share + self.column_share


def measure_densities(keep: Bool[np.ndarray, "out in"]) -> Densities:
    """Means over rows and columns of a mask (out, in); a constant mask has no variance to explain."""
    rows, columns, density = keep.mean(axis=1), keep.mean(axis=0), float(keep.mean())
    variance = density * (1 - density)
    share = (lambda d: float(d.var() / variance)) if variance > 0 else (lambda d: 0.0)
    return Densities(density, _middle_range(rows), _middle_range(columns), share(rows), share(columns))


def _middle_range(values: np.ndarray) -> tuple[float, float]:
    """The range of nine tenths: one dead feature should not be the answer."""
    low, high = np.quantile(values, [0.05, 0.95])
    return float(low), float(high)
