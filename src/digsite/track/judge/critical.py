"""When layers move and when they have settled: fast periods that layers share, and whether they settle in order of depth.

Both are claims of the original about time, and both come with chance: shifted marks, strangers' layers, permuted depths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import rankdata

from digsite.track.core.series import Series

PERCENTILE = 90.0
TOGETHER = 0.5


@dataclass(frozen=True)
class Periods:
    """Coordination is the share of layers that are fast at a sample; the null shifts each layer's clock by chance."""

    coordination: np.ndarray
    n_critical: int
    n_transitions: int
    n_coordinated: int
    highest: float
    null_highest: float
    p: float
    excess: float


@dataclass(frozen=True)
class LossLink:
    """`fell` is the share of fast samples at which the loss fell, `base` the share over all samples."""

    fell: float | None
    base: float
    difference: float | None
    low: float | None
    high: float | None
    lag: int
    correlation: float
    p: float


def fast_samples(values: np.ndarray, order: int = 1) -> np.ndarray:
    """Samples where |velocity| (order 1) or |acceleration| (order 2) exceeds its own 90th percentile.

    By construction a tenth of all samples: their number says nothing, only their places do.
    """
    change = np.abs(np.diff(values, n=order))
    mark = np.zeros(len(values), dtype=bool)
    mark[order:] = change > np.percentile(change, PERCENTILE)
    return mark


def fast_periods(
    layers: Sequence[np.ndarray],
    rng: np.random.Generator,
    *,
    shifts: int = 200,
    elsewhere: Sequence[Sequence[np.ndarray]] | None = None,
) -> Periods | None:
    """None for fewer than two moving layers: nothing can be coordinated.

    `layers`: one series per layer of one network. `elsewhere`: the same layers of networks trained from other seeds; then
    the null puts layers of different networks together. Every training curve starts with a transient, so layers that
    know nothing of each other are fast at the same time, and a null that shifts them in a circle calls that coordination.
    """
    if len(layers) < 2:
        return None
    marks = np.stack([fast_samples(values) for values in layers])
    turns = np.stack([fast_samples(values, 2) for values in layers])
    share = marks.mean(0)
    statistic = float((share**2).mean())
    strangers = (
        None
        if elsewhere is None
        else np.stack([[fast_samples(v) for v in other] for other in (layers, *elsewhere)])
    )
    null_stat, null_top = [], []
    for _ in range(shifts):
        mixed = _shift_marks(marks, rng) if strangers is None else _draw_strangers(strangers, rng)
        null_stat.append(float((mixed.mean(0) ** 2).mean()))
        null_top.append(float(mixed.mean(0).max()))
    p = (1 + sum(null >= statistic for null in null_stat)) / (shifts + 1)
    return Periods(
        coordination=share,
        n_critical=int(marks.any(0).sum()),
        n_transitions=int(turns.any(0).sum()),
        n_coordinated=int((share >= TOGETHER).sum()),
        highest=float(share.max()),
        null_highest=float(np.mean(null_top)),
        p=float(p),
        excess=statistic - float(np.mean(null_stat)),
    )


def _shift_marks(marks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each layer by itself, which keeps its own rhythm and breaks what is shared."""
    return np.stack([np.roll(mark, rng.integers(len(mark))) for mark in marks])


def _draw_strangers(marks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(layers, samples) from `marks` (networks, layers, samples): neighbors in the result come from different networks."""
    n, n_layers = marks.shape[:2]
    order = np.concatenate([rng.permutation(n) for _ in range(-(-n_layers // n) + 1)])
    return np.stack([marks[order[layer], layer] for layer in range(n_layers)])


def loss_link(
    layers: Sequence[np.ndarray],
    loss: np.ndarray,
    rng: np.random.Generator,
    *,
    shifts: int = 200,
    reach: int = 10,
    elsewhere: Sequence[np.ndarray] | None = None,
) -> LossLink:
    """The share of falls at fast samples against the base rate, and the strongest lagged correlation of speeds.

    A positive lag means that the representation moves first. The null of the correlation shifts the loss in a circle.
    `elsewhere`: losses of networks trained from other seeds, on the same steps; then the base rate is theirs at the same
    samples, because any loss falls early, when any representation is fast.
    """
    drop = -np.diff(loss, prepend=loss[0])
    falling = drop > 0
    marks = (
        np.stack([fast_samples(values) for values in layers]).any(0)
        if len(layers)
        else np.zeros(len(loss), bool)
    )
    base = float(falling[1:].mean())
    n = int(marks.sum())
    fell = float(falling[marks].mean()) if n else None
    if elsewhere is not None and len(elsewhere) and n:
        base = float(np.mean([(-np.diff(other, prepend=other[0]) > 0)[marks].mean() for other in elsewhere]))
    error = 1.96 * np.sqrt(base * (1 - base) / n) if n else None
    speed = (
        _rank_standardize(np.mean([np.abs(np.diff(v, prepend=v[0])) for v in layers], axis=0))
        if len(layers)
        else drop * 0
    )
    movement = _rank_standardize(np.abs(drop))
    lag, best = _strongest_lag(speed, movement, reach)
    null = [
        abs(_strongest_lag(speed, np.roll(movement, rng.integers(reach, len(loss) - reach)), reach)[1])
        for _ in range(shifts)
    ]
    p = (1 + sum(value >= abs(best) for value in null)) / (shifts + 1)
    difference = None if fell is None else fell - base
    low, high = (
        (None, None) if difference is None or error is None else (difference - error, difference + error)
    )
    return LossLink(fell, base, difference, low, high, lag, best, float(p))


def _rank_standardize(x: np.ndarray) -> np.ndarray:
    """Ranks rather than values: a single early plunge would decide a plain correlation."""
    ranks = np.argsort(np.argsort(x)).astype(float)
    spread = ranks.std()
    return (ranks - ranks.mean()) / spread if x.std() > 0 else np.zeros_like(ranks)


def _strongest_lag(x: np.ndarray, y: np.ndarray, reach: int) -> tuple[int, float]:
    """(lag, correlation) of the largest size."""
    best = (0, 0.0)
    for lag in range(-reach, reach + 1):
        a, b = (x[: len(x) - lag], y[lag:]) if lag >= 0 else (x[-lag:], y[: len(y) + lag])
        value = float((a * b).mean())
        if abs(value) > abs(best[1]):
            best = (lag, value)
    return best


# Convergence: when a layer has settled, and whether layers settle in order of depth, judged by permutation.

Order = Literal["bottom-up", "top-down", "simultaneous", "unclear"]
TAIL_SHARE = 0.1


@dataclass(frozen=True)
class Settled:
    """`step` is None when the series is still moving at its end; `kind` says which."""

    step: float | None
    kind: Literal["constant", "converged", "not converged"]
    band: float

    @property
    def came_to_rest(self) -> bool:
        """Whether it moved and then stayed; a constant never moved."""
        return self.kind == "converged"

    @property
    def moves_on(self) -> bool:
        """Whether it is still moving at its end."""
        return self.kind == "not converged"


@dataclass(frozen=True)
class LayerOrder:
    """Bottom-up, top-down, at once or unclear, with p."""

    order: Order
    correlation: float | None
    p: float | None
    layers: int


def settling_time(series: Series, error: float = 0.0) -> Settled:
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
    band = float(np.sqrt(2 * np.log(len(values))) + 0.5) * max(spread, float(np.std(tail - _fit_line(tail))))
    if _tail_drifts(tail, spread):
        return Settled(None, "not converged", band)
    level = float(np.median(tail))
    outside = np.flatnonzero(np.abs(values - level) > band)
    first = 0 if len(outside) == 0 else int(outside[-1]) + 1
    if first > len(values) - len(tail):
        return Settled(None, "not converged", band)
    return Settled(float(series.steps[first]), "converged", band)


def _fit_line(values: np.ndarray) -> np.ndarray:
    """Least squares, at every sample."""
    t = np.arange(len(values))
    return np.polyval(np.polyfit(t, values, 1), t)


def _tail_drifts(tail: np.ndarray, scatter: float) -> bool:
    """The fitted line's rise over the tail against its error under AR(1) scatter."""
    line = _fit_line(tail)
    residual = tail - line
    memory = float(np.clip(_lag_one_memory(residual), 0, 0.95))
    sd = max(float(residual.std()) * np.sqrt((1 + memory) / (1 - memory)), scatter)
    rise = abs(float(line[-1] - line[0]))
    return rise > 3 * sd * np.sqrt(12 / len(tail))


def _lag_one_memory(x: np.ndarray) -> float:
    """Autocorrelation at lag one."""
    power = float(x @ x)
    return float(x[1:] @ x[:-1]) / power if power > 0 else 0.0


def order_of_layers(
    steps: Sequence[float | None], rng: np.random.Generator, *, draws: int = 2000
) -> LayerOrder:
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
    rho = _plain_correlation(depth, ranks)
    null = np.array([_plain_correlation(depth, rng.permutation(ranks)) for _ in range(draws)])
    p = float((1 + np.sum(np.abs(null) >= abs(rho) - 1e-12)) / (draws + 1))
    order: Order = "unclear"
    if p < 0.05:
        order = "bottom-up" if rho > 0 else "top-down"
    elif abs(rho) < 0.3:
        order = "simultaneous"
    return LayerOrder(order, rho, p, len(steps))


def _plain_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's."""
    x, y = x - x.mean(), y - y.mean()
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))
