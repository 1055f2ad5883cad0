"""Jumps as level changes that a smooth curve cannot make, under AR(2) noise, with a Monte-Carlo family-wise error.

At each sample a step or ramp on a straight base is fitted in whitened windows of three widths. The largest z-score is
judged by its null distribution for this length and memory. A find must also fit better than a quartic in time and in
log time (a sigmoid, a decay and a power law bend, a jump breaks). Then it is taken out and the search is repeated.
What is left must also stand out from the series' wander on either side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from digsite.track.core import edge_null, noise, spikes, stepfit
from digsite.track.core.jumps import Change, Kind, level_change
from digsite.track.core.stepfit import Memory

NUDGE = 12
NEAR = 2  # samples beyond the rise: what looks like a spike there belongs to it
MISSES = 12  # places that bend and do not break, before the search is given up
KINK_REACH = 24  # a kink's z-score peaks a third of a window away from it


@dataclass(frozen=True)
class Fit:
    index: int
    low: int
    high: int
    width: int
    size: float
    kind: Kind
    sharp: bool

    def profile(self, n: int) -> np.ndarray:
        u = np.arange(n) - self.index + 0.5
        return self.size * (np.abs(u) / stepfit.HALF if self.kind == "kink" else stepfit.rise(u, self.width))


def detect(
    values: np.ndarray, *, alpha: float = 0.05, max_changes: int = 20, min_relative: float = 1e-6
) -> list[Change]:
    """Level changes with family-wise error `alpha` per series; kinks and spikes are returned under their own kinds.

    `min_relative` is the smallest change of interest as a share of the largest absolute value.
    """
    rows = noise.cut_spikes(values[None, :])
    floor = min_relative * float(np.abs(values).max())
    barred = np.zeros(len(values), dtype=bool)
    found: list[tuple[Fit, float]] = []
    for _ in range(max_changes + MISSES):
        clean = rows - sum((fit.profile(len(values)) for fit, _ in found), np.zeros(len(values)))
        index, memory, p = _strongest(clean, barred)
        if p > alpha or len(found) == max_changes:
            break
        fit = _fit(clean[0], index, memory)
        barred[max(index - stepfit.MARGIN, 0) : index + stepfit.MARGIN] = True
        if fit.sharp and abs(fit.size) > floor:
            barred[max(fit.index - stepfit.MARGIN, 0) : fit.index + stepfit.MARGIN] = True
            found.append((fit, p))
    changes = [Change(f.index, f.low, f.high, f.width, p, f.kind) for f, p in found]
    kept = [c for c in changes if _stands_out(c, values, changes)]
    apart = [
        s
        for s in spikes.find(values, alpha)
        if all(abs(s.index - c.index) > NEAR + c.width // 2 for c in kept)
    ]
    return sorted(kept + apart, key=lambda c: c.index)


def _stands_out(change: Change, values: np.ndarray, others: list[Change]) -> bool:
    """The level must differ beyond its wander on either side: one large increment of a walk is no jump."""
    if change.kind == "kink":
        return True
    _, size, error = level_change(change, values, others)
    return abs(size) > 1.96 * error


def _strongest(clean: np.ndarray, barred: np.ndarray) -> tuple[int, Memory, float]:
    first, second = noise.memory(clean)[0].tolist()
    memory = (first, second)
    scale = noise.innovation_scale(stepfit.whiten(clean, memory))
    scale = np.maximum(scale, 1e-9 * float(np.ptp(clean)) + np.finfo(float).tiny)
    z = np.abs(stepfit.z_scores(clean, memory, scale)[0]).max(0)
    z[barred] = 0
    index = int(z.argmax())
    return index, memory, edge_null.p_value(float(z[index]), len(z), memory)


def _fit(series: np.ndarray, index: int, memory: Memory) -> Fit:
    """Best place, width and size near `index`, against a kink and against smooth curves."""
    n = len(series)
    start, stop = max(index - stepfit.HALF - NUDGE // 2, 0), min(index + stepfit.HALF + NUDGE // 2, n)
    t = np.arange(start, stop)
    u = 2 * (t - start) / (stop - 1 - start) - 1
    y = stepfit.whiten(series[start:stop], memory)
    base = _span(u, 2, memory)
    places = np.arange(max(index - NUDGE, start + 4), min(index + NUDGE + 1, stop - 3))
    gain, size, grid = _rises(t, y, base, places, memory)
    best = int(gain.argmax())
    residue = float(np.sum((y - base @ (base.T @ y)) ** 2))
    bends = np.arange(max(index - KINK_REACH, start + 4), min(index + KINK_REACH + 1, stop - 3))
    kink_gain, kink_size, kink_at = _kink(t, y, base, bends, memory)
    straight = residue - max(float(gain[best]), kink_gain)
    smooth = min(_residue(y, _span(v, 4, memory)) for v in (u, _log_time(t)))
    low, high = _interval(gain, grid[:, 0], straight / max(len(y) - 5, 1))
    width = int(grid[best, 1])
    if kink_gain > gain[best]:
        return Fit(kink_at, low, high, 1, kink_size, "kink", straight < smooth)
    kind: Kind = "step" if width <= 3 else "ramp"
    return Fit(int(grid[best, 0]), low, high, width, float(size[best]), kind, straight < smooth)


def _span(u: np.ndarray, degree: int, memory: Memory) -> np.ndarray:
    """Orthonormal basis of whitened polynomials; a unit root makes one of them vanish, and it is left out."""
    columns = stepfit.whiten(np.stack([u**k for k in range(degree + 1)]), memory).T
    return np.linalg.qr(columns[:, sum(r == 1 for r in memory) :])[0]


def _log_time(t: np.ndarray) -> np.ndarray:
    s = np.log1p(t)
    return 2 * (s - s[0]) / (s[-1] - s[0]) - 1


def _residue(y: np.ndarray, basis: np.ndarray) -> float:
    return float(np.sum((y - basis @ (basis.T @ y)) ** 2))


def _rises(
    t: np.ndarray, y: np.ndarray, base: np.ndarray, places: np.ndarray, memory: Memory
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Residual sum of squares explained, and size, of each (place, width)."""
    grid = np.array([(place, width) for place in places for width in stepfit.RISES])
    shapes = np.stack([stepfit.rise(t - place + 0.5, width) for place, width in grid])
    left = stepfit.whiten(shapes, memory).T
    left = left - base @ (base.T @ left)
    norm2 = np.maximum((left**2).sum(0), 1e-12)
    return (left.T @ y) ** 2 / norm2, (left.T @ y) / norm2, grid


def _kink(
    t: np.ndarray, y: np.ndarray, base: np.ndarray, places: np.ndarray, memory: Memory
) -> tuple[float, float, int]:
    shapes = np.abs(t[None, :] - places[:, None] + 0.5) / stepfit.HALF
    left = stepfit.whiten(shapes, memory).T
    left = left - base @ (base.T @ left)
    norm2 = np.maximum((left**2).sum(0), 1e-12)
    gain = (left.T @ y) ** 2 / norm2
    best = int(gain.argmax())
    return float(gain[best]), float((left.T @ y)[best] / norm2[best]), int(places[best])


def _interval(gain: np.ndarray, places: np.ndarray, variance: float) -> tuple[int, int]:
    """Central 95 % of the posterior over places (flat prior over places and widths, Gaussian noise)."""
    weight = np.exp((gain - gain.max()) / (2 * max(variance, 1e-9 * float(gain.max()), 1e-300)))
    order, inverse = np.unique(places, return_inverse=True)
    share = np.bincount(inverse, weights=weight) / weight.sum()
    mass = np.cumsum(share)
    return int(order[np.searchsorted(mass, 0.025)]), int(
        order[min(np.searchsorted(mass, 0.975), len(order) - 1)]
    )
