"""When a layer has settled, and whether layers settle in order of depth, judged by permutation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import rankdata

from digsite.track.core.series import Series

Order = Literal["bottom-up", "top-down", "simultaneous", "unclear"]
TAIL_SHARE = 0.1


@dataclass(frozen=True)
class Settled:
    """`step` is None when the series is still moving at its end; `kind` says which."""

    step: float | None
    kind: Literal["constant", "converged", "not converged"]
    band: float


@dataclass(frozen=True)
class LayerOrder:
    order: Order
    correlation: float | None
    p: float | None
    layers: int


def settled(series: Series, error: float = 0.0) -> Settled:
    """The earliest step after which the series stays within a band of its final level.

    The band is as wide as noise of this many samples reaches, in standard deviations of the last tenth of the run, or
    in probe errors where those are larger. A series whose last tenth drifts by more than its scatter has not converged.
    """
    if series.constant:
        return Settled(float(series.steps[0]), "constant", 0.0)
    values = series.values
    tail = values[-max(int(TAIL_SHARE * len(values)), 8) :]
    scatter = float(np.std(np.diff(tail)) / np.sqrt(2))
    spread = max(scatter, error)
    band = float(np.sqrt(2 * np.log(len(values))) + 0.5) * max(spread, float(np.std(tail - _line(tail))))
    if _drifts(tail, spread):
        return Settled(None, "not converged", band)
    level = float(np.median(tail))
    outside = np.flatnonzero(np.abs(values - level) > band)
    first = 0 if len(outside) == 0 else int(outside[-1]) + 1
    if first > len(values) - len(tail):
        return Settled(None, "not converged", band)
    return Settled(float(series.steps[first]), "converged", band)


def _line(values: np.ndarray) -> np.ndarray:
    t = np.arange(len(values))
    return np.polyval(np.polyfit(t, values, 1), t)


def _drifts(tail: np.ndarray, scatter: float) -> bool:
    """The fitted line's rise over the tail against its error under AR(1) scatter."""
    line = _line(tail)
    residual = tail - line
    memory = float(np.clip(_lag1(residual), 0, 0.95))
    sd = max(float(residual.std()) * np.sqrt((1 + memory) / (1 - memory)), scatter)
    rise = abs(float(line[-1] - line[0]))
    return rise > 3 * sd * np.sqrt(12 / len(tail))


def _lag1(x: np.ndarray) -> float:
    power = float(x @ x)
    return float(x[1:] @ x[:-1]) / power if power > 0 else 0.0


def layer_order(steps: Sequence[float | None], rng: np.random.Generator, *, draws: int = 2000) -> LayerOrder:
    """Spearman correlation of settling time with true depth; `steps` in module order, None never settles (last).

    Fewer than four layers, or no layer that settled, cannot be ordered. "simultaneous" needs |rho| < 0.3 and no sign
    of order; a clear order needs p < 0.05; all else is unclear.
    """
    if len(steps) < 4 or all(step is None for step in steps):
        return LayerOrder("unclear", None, None, len(steps))
    times = np.array([np.inf if step is None else step for step in steps])
    if len(np.unique(times)) == 1:
        return LayerOrder("simultaneous", 0.0, 1.0, len(steps))
    ranks = rankdata(times)
    depth = np.arange(len(steps), dtype=float)
    rho = _correlation(depth, ranks)
    null = np.array([_correlation(depth, rng.permutation(ranks)) for _ in range(draws)])
    p = float((1 + np.sum(np.abs(null) >= abs(rho) - 1e-12)) / (draws + 1))
    order: Order = "unclear"
    if p < 0.05:
        order = "bottom-up" if rho > 0 else "top-down"
    elif abs(rho) < 0.3:
        order = "simultaneous"
    return LayerOrder(order, rho, p, len(steps))


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(), y - y.mean()
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))
