"""Densities first: how full rows and columns are, and how much of the mask that alone explains."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool


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
        return self.row_share + self.column_share


def densities(keep: Bool[np.ndarray, "out in"]) -> Densities:
    rows, columns, density = keep.mean(axis=1), keep.mean(axis=0), float(keep.mean())
    variance = density * (1 - density)
    share = (lambda d: float(d.var() / variance)) if variance > 0 else (lambda d: 0.0)
    return Densities(density, _middle(rows), _middle(columns), share(rows), share(columns))


def _middle(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [0.05, 0.95])
    return float(low), float(high)
