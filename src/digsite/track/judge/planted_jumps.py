"""How often a detector finds jumps in series that hold none, how many planted ones it finds, and a rival to compare with.

The rival is the self-normalized CUSUM for one change of the mean (Shao and Zhang 2010): the CUSUM at each place is divided by
the cumulative deviations on either side of it, so that the long-run variance cancels and no noise model is needed. Its null
(a Brownian one) holds for stationary short memory and not for trends or walks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from digsite.track.core.jumps import Change
from digsite.track.judge.null_series import Rng, draw_process

Detector = Callable[[np.ndarray], list[Change]]
CUSUM_DRAWS = 400
CUSUM_SAMPLES = 400
MATCH = 5  # samples between a find and the planted jump
BASES = ("flat", "decay", "AR .8", "process + noise")


def draw_base(base: str, n: int, count: int, rng: Rng) -> np.ndarray:
    """(count, n) series of unit noise variance under which jumps are hidden: one of BASES.

    The process has memory 20 and measurement noise of .3 of its deviation; the decay falls by ten deviations in time 40.
    """
    if base == "flat":
        return rng.standard_normal((count, n))
    if base == "decay":
        return 10 * np.exp(-np.arange(n) / 40) + rng.standard_normal((count, n))
    if base == "AR .8":
        return draw_process(0.8, count, n, rng)
    slow = draw_process(np.exp(-1 / 20), count, n, rng)
    return (slow + 0.3 * rng.standard_normal((count, n))) / np.sqrt(1.09)


def plant_jumps(
    base: str, width: int, n: int, count: int, rng: Rng, size: float = 5.0
) -> tuple[np.ndarray, np.ndarray]:
    """(count, n) series with a jump of `size` noise deviations over `width` samples near each third, and their places.

    One goes up and one down, so that the level comes back; a series below 200 samples has one jump, near its middle.
    """
    t = np.arange(n)
    rows = draw_base(base, n, count, rng)
    thirds = ((0.28, 0.38), (0.62, 0.72)) if n >= 200 else ((0.38, 0.62),)
    places = np.stack([rng.integers(int(a * n), int(b * n), count) for a, b in thirds], 1)
    for row, pair, sign in zip(rows, places, rng.choice([-1.0, 1.0], size=count), strict=True):
        for place, direction in zip(pair, (sign, -sign), strict=False):
            u = t - place + 0.5
            row += size * direction * (np.clip(u / width + 0.5, 0, 1) if width > 1 else (u > 0))
    return rows, places


def keep_level_changes(changes: list[Change]) -> list[Change]:
    """Spikes and kinks are no jumps of the level, and are not counted as such."""
    return [change for change in changes if change.kind in ("step", "ramp")]


def share_with_jumps(detect: Detector, rows: np.ndarray) -> float:
    """Share of the `rows` (count, n) in which `detect` finds at least one level change."""
    return float(np.mean([bool(keep_level_changes(detect(row))) for row in rows]))


@dataclass(frozen=True)
class Recall:
    """Share of planted jumps with a find near them, false finds per series, and share of their intervals that hold the place."""

    recall: float
    false_per_series: float
    covered: float


def measure_recall(detect: Detector, rows: np.ndarray, places: np.ndarray) -> Recall:
    """What `detect` finds of the jumps at `places` (count, jumps) in `rows` (count, n); near means within MATCH samples."""
    hits = covered = false = 0
    for row, truth in zip(rows, places, strict=True):
        found = keep_level_changes(detect(row))
        near = [[f for f in found if abs(f.index - place) <= MATCH] for place in truth]
        hits += sum(bool(group) for group in near)
        covered += sum(
            any(f.low <= place <= f.high for f in group) for group, place in zip(near, truth, strict=True)
        )
        false += sum(all(abs(f.index - place) > MATCH for place in truth) for f in found)
    return Recall(hits / places.size, false / len(rows), covered / max(hits, 1))


def self_normalized_cusum(values: np.ndarray) -> tuple[float, int]:
    """The largest quotient over the places of `values` (n,), and the place."""
    n = len(values)
    k = np.arange(1, n)
    total = np.cumsum(values)
    bridge = total[:-1] - k / n * total[-1]
    first, second = deviations_before(values), deviations_before(values[::-1])[::-1]
    quotient = (bridge**2 / n) / np.maximum((first + second) / n**2, 1e-300)
    return float(quotient.max()), int(quotient.argmax()) + 1


def deviations_before(values: np.ndarray) -> np.ndarray:
    """For each k = 1 .. n - 1 the sum over j <= k of (S_j - j / k S_k)^2."""
    total = np.cumsum(values)[:-1]
    j = np.arange(1, len(values))
    return np.cumsum(total**2) - 2 * total / j * np.cumsum(j * total) + (total / j) ** 2 * np.cumsum(j**2.0)


@lru_cache(maxsize=1)
def cusum_threshold(level: float = 0.05) -> float:
    """Its quantile on white noise."""
    rng = np.random.default_rng(0)
    return float(
        np.quantile(
            [self_normalized_cusum(rng.standard_normal(CUSUM_SAMPLES))[0] for _ in range(CUSUM_DRAWS)],
            1 - level,
        )
    )


def shifts_mean(values: np.ndarray) -> bool:
    """Whether the mean of `values` (n,) changes at a level of 5 %."""
    return self_normalized_cusum(values - values.mean())[0] > cusum_threshold()
