"""Jumps as level changes that the series' own increments cannot make and a smooth curve cannot bend to.

Before the test the values are made fit for it: single spikes are cut back, values on a lattice are spread over their
cells, values that are held are taken once, and values whose noise grows with their level are taken in logarithms. Where
none of this helps the answer is that the test does not apply, and why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.signal import lfilter
from scipy.stats import spearmanr
from scipy.stats import t as student

from digsite.track.core import jumptest, noise
from digsite.track.core.detectors import Detector, Verdict
from digsite.track.core.jumps import Change

# Values that move by whole steps: ranks, counts, accuracies of few images, half precision, and values that are held.
# A smooth course, rounded, is a staircase, and each of its stairs is a perfect jump. So a series on a lattice is tested
# as one: a change counts by what it has beyond one step of the lattice, which rounding alone can give.

BITS = (8, 11)  # significant binary digits of bfloat16 and float16
HELD_SHARE = 0.2


@dataclass(frozen=True)
class Lattice:
    """`quantum` (n,): the step of the lattice at each sample, zero where values are continuous.

    `held`: share of samples that repeat the one before although many different values occur; `period`: of what length,
    when (nearly) all values are held equally long, else 0.
    """

    quantum: np.ndarray
    held: float
    period: int


def find_lattice(values: np.ndarray) -> Lattice:
    """What steps `values` (n,) move by."""
    levels = np.unique(values)
    same = np.diff(values) == 0
    quantum = common_step(levels)
    if quantum > 0:
        return Lattice(np.full(len(values), quantum), 0.0, 0)
    steps = precision_step(values)
    share = float(same.mean())
    if steps.any() or share < HELD_SHARE:
        return Lattice(steps, 0.0, 0)
    lengths = np.diff(np.r_[0, np.flatnonzero(~same) + 1])
    usual = int(np.median(lengths)) if len(lengths) else 0
    regular = len(lengths) > 0 and float(np.mean(lengths == usual)) >= 0.95
    return Lattice(steps, share, usual if regular else 0)


def common_step(levels: np.ndarray) -> float:
    """The smallest gap of sorted levels when all other gaps are whole multiples of it, else 0.

    Two or three levels always are; a lattice is then still the right reading, as such a series has no other scale.
    """
    if len(levels) < 2:
        return 0.0
    gaps = np.diff(levels)
    least = float(gaps.min())
    # Decimal fractions are rounded in binary: 0.07 - 0.06 differs from 0.01 in the last digits.
    if least < 1e-9 * float(np.abs(levels).max()):
        return 0.0
    ratio = gaps / least
    return least if bool((np.abs(ratio - np.round(ratio)) < 1e-3 * np.maximum(ratio, 1)).all()) else 0.0


def precision_step(values: np.ndarray) -> np.ndarray:
    """(n,) spacing of the low-precision floating-point format that holds all values exactly, else zeros."""
    fraction, exponent = np.frexp(values)
    for bits in BITS:
        scaled = fraction * 2.0**bits
        if bool((scaled == np.round(scaled)).all()):
            return np.ldexp(1.0, exponent - bits)
    return np.zeros(len(values))


def spread_over_cells(values: np.ndarray, quantum: np.ndarray) -> np.ndarray:
    """Values spread evenly over their cells of the lattice, by a fixed draw: ties without a choice."""
    return values + (np.random.default_rng(len(values)).random(len(values)) - 0.5) * quantum


def drop_repeats(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the samples at which a new value came, and the values there."""
    kept = np.r_[0, np.flatnonzero(np.diff(values) != 0) + 1]
    return kept, values[kept]


# Spikes: one or two samples that leave the course and come back, which is neither a step nor a bend.

# The far tail of x - median(5) against its root mean square, for Gaussian x: an outlier is not in its own median.
TAIL = 1.2
FREEDOM = noise.WINDOW // 2  # of the local scale: its windows overlap


def find_spikes(values: np.ndarray, alpha: float) -> list[Change]:
    """With family-wise error `alpha` per series on Gaussian noise with memory; heavy tails are spikes."""
    z = np.minimum(np.abs(_from_course(values)), np.abs(_from_forecast(values)))
    p = np.minimum(2 * len(values) * student.sf(z, FREEDOM), 1.0)
    places = np.flatnonzero(p <= alpha)
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1) if len(places) else []
    return [
        Change(int(run[0]), int(run[0]), int(run[-1]), len(run), float(p[run].min()), "spike")
        for run in runs
        if len(run) <= 2
    ]


def _from_course(values: np.ndarray) -> np.ndarray:
    """Distance from the running median of five: a step or a ramp has none."""
    rows = values[None, :]
    trend = noise.median_trend(rows)
    off = rows - trend - noise.running_median(rows - trend, 5)
    return (off / _floor_scale(TAIL * noise.clipped_scale(off), values))[0]


def _from_forecast(values: np.ndarray) -> np.ndarray:
    """Least squares for a single displaced sample under AR(2) noise: a wandering series seldom comes back at once."""
    rows = noise.cut_spikes(values[None, :], medians=5.0)  # what is asked about stays in the scale
    first, second = noise.fit_two_roots(rows)[0].tolist()
    scale = noise.innovation_scale(noise.whiten_roots(rows, (first, second)))[0]
    response = np.array([1.0, -(first + second), first * second])
    rest = noise.whiten_roots(values[None, :], (first, second))
    rest = (
        rest - noise.median_trend(rest) - noise.running_median(rest - noise.median_trend(rest), noise.CENTER)
    )[0]
    padded = np.r_[np.zeros(noise.LOST), rest / _floor_scale(scale, values), np.zeros(noise.LOST)]
    matched = lfilter(response[::-1], [1.0], padded)[noise.LOST :]
    return np.asarray(matched)[: len(values)] / np.sqrt((response**2).sum())


def _floor_scale(scale: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Rounding is no noise."""
    return np.maximum(scale, 1e-9 * float(np.ptp(values)) + np.finfo(float).tiny)


NEAR = 2  # samples beyond the rise: what looks like a spike there belongs to it
KINK_APART = 24
FEWEST_LEVELS = 4
SHORTEST = 20
LEVEL_LINK = 0.35  # rank correlation of step size and level from which noise is taken to grow with the level
LEVEL_RANGE = 1.5


@dataclass(frozen=True)
class Prepared:
    """A series made fit for the test, with the index of each of its samples in the original, or why it cannot be."""

    values: np.ndarray
    quantum: np.ndarray
    places: np.ndarray
    because: str = ""


class Edge(Detector):
    """Changes that a series' own increments cannot make and a smooth curve cannot bend to, with an error rate per series."""

    DATES_TRANSITIONS: ClassVar[bool] = True

    @staticmethod
    def detect(
        values: np.ndarray, *, alpha: float = 0.05, max_changes: int = 20, min_relative: float = 1e-6
    ) -> list[Change]:
        """Level changes with family-wise error `alpha` per series, at most `max_changes`; kinks and spikes have their own kinds.

        `min_relative` is the smallest change of interest as a share of the largest absolute value.
        """
        return judge_values(values, alpha=alpha, max_changes=max_changes, min_relative=min_relative).changes

    @classmethod
    def judge(cls, values: np.ndarray, **options: Any) -> Verdict:
        """As `detect`, with the reason where the test does not apply."""
        return judge_values(values, **options)


def judge_values(
    values: np.ndarray, *, alpha: float = 0.05, max_changes: int = 20, min_relative: float = 1e-6
) -> Verdict:
    """As `Edge.judge`, with its options by name."""
    # A power of two changes no digit, and squares of 1e300 or of 1e-300 are no numbers.
    values = np.ldexp(values, -int(np.frexp(np.abs(values).max())[1]))
    ready = prepare_values(values)
    if ready.because:
        return Verdict([], ready.because)
    clean = noise.cut_spikes(ready.values[None])[0]
    floor = min_relative * float(np.abs(ready.values).max())
    changes = jumptest.find_changes(clean, ready.quantum, alpha, max_changes, floor)
    if jumptest.may_be_shocks(clean, [c for c in changes if c.change.shape in ("step", "ramp")]):
        return Verdict(
            [],
            "its level wanders, and one large step of such a walk cannot be told from a jump in this noise",
        )
    kept = without_shadows([placed_change(change, ready.places) for change in changes])
    apart = [
        spike
        for spike in (find_spikes(values, alpha) if len(ready.places) == len(values) else [])
        if all(abs(spike.index - c.index) > NEAR + c.width // 2 for c in kept)
    ]
    return Verdict(sorted(kept + apart, key=lambda c: c.index))


def without_shadows(changes: list[Change]) -> list[Change]:
    """The corners of a ramp that a straight profile leaves over are no kinks of their own."""
    levels = [c for c in changes if not c.is_kink]
    return [c for c in changes if not c.is_kink or all(abs(c.index - o.index) > KINK_APART for o in levels)]


def prepare_values(values: np.ndarray, *, logarithms: bool = True) -> Prepared:
    """Values (n,) as the test can take them; `logarithms` where the noise grows with the level."""
    grid = find_lattice(values)
    places = np.arange(len(values))
    quantum = grid.quantum
    if grid.held and not grid.period:
        return refuse_values(
            f"{grid.held:.0%} of the samples repeat the one before: the values are held, or a best so far"
        )
    if grid.period:
        places, values = drop_repeats(values)
        quantum = quantum[places]
        if len(values) < SHORTEST:
            return refuse_values(
                f"each value is held for {grid.period} samples, and only {len(values)} are left"
            )
    levels = len(np.unique(values))
    if quantum.any() and levels < FEWEST_LEVELS:
        return refuse_values(f"the values take only {levels} levels, and one step of a staircase is no jump")
    values = spread_over_cells(values, quantum)
    if logarithms and not quantum.any() and grows_with_level(values):
        values = np.log(values)
    return Prepared(values, quantum, places)


def refuse_values(because: str) -> Prepared:
    """Nothing is tested, and why."""
    return Prepared(np.zeros(0), np.zeros(0), np.zeros(0, int), because)


def grows_with_level(values: np.ndarray) -> bool:
    """Whether the noise of positive values is rather relative than absolute."""
    if values.min() <= 0 or np.quantile(values, 0.95) < LEVEL_RANGE * np.quantile(values, 0.05):
        return False
    middle = (values[1:] + values[:-1]) / 2
    wobble = np.abs(np.diff(values) - np.median(np.diff(values)))
    if np.ptp(wobble) == 0:
        return False
    plain = float(spearmanr(wobble, middle).statistic)
    relative = np.abs(np.diff(np.log(values)) - np.median(np.diff(np.log(values))))
    if plain <= LEVEL_LINK or np.ptp(relative) == 0:
        return plain > LEVEL_LINK
    return abs(float(spearmanr(relative, middle).statistic)) < plain


def placed_change(found_change: jumptest.FoundChange, places: np.ndarray) -> Change:
    """Indices among the samples that were tested, back in the series."""
    change = found_change.change
    last = len(places) - 1
    stride = max(int(np.median(np.diff(places))), 1)
    shape = change.shape
    assert shape != "bend"
    low, high = min(change.low, change.index), max(change.high, change.index)
    index, low, high = (int(places[min(max(i, 1), last)]) for i in (change.index, low, high))
    return Change(index, low, high, change.width * stride, found_change.p, shape)
