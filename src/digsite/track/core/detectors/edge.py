"""Jumps as level changes that the series' own increments cannot make and a smooth curve cannot bend to.

Before the test the values are made fit for it: single spikes are cut back, values on a lattice are spread over their
cells, values that are held are taken once, and values whose noise grows with their level are taken in logarithms. Where
none of this helps the answer is that the test does not apply, and why.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from digsite.track.core import jumptest, lattice, noise, spikes
from digsite.track.core.detectors import Detector
from digsite.track.core.jumps import Change

NEAR = 2  # samples beyond the rise: what looks like a spike there belongs to it
KINK_APART = 24
FEWEST_LEVELS = 4
SHORTEST = 20
LEVEL_LINK = 0.35  # rank correlation of step size and level from which noise is taken to grow with the level
LEVEL_RANGE = 1.5


@dataclass(frozen=True)
class Verdict:
    """The changes of a series, or the reason why this test cannot tell (then there are none)."""

    changes: list[Change]
    because: str = ""

    @property
    def applies(self) -> bool:
        return not self.because


@dataclass(frozen=True)
class Prepared:
    """A series made fit for the test, with the index of each of its samples in the original, or why it cannot be."""

    values: np.ndarray
    quantum: np.ndarray
    places: np.ndarray
    because: str = ""


class Edge(Detector):
    """Changes that a series' own increments cannot make and a smooth curve cannot bend to, with an error rate per series."""

    @staticmethod
    def detect(
        values: np.ndarray, *, alpha: float = 0.05, max_changes: int = 20, min_relative: float = 1e-6
    ) -> list[Change]:
        """Level changes with family-wise error `alpha` per series, at most `max_changes`; kinks and spikes have their own kinds.

        `min_relative` is the smallest change of interest as a share of the largest absolute value.
        """
        return judge_values(values, alpha=alpha, max_changes=max_changes, min_relative=min_relative).changes


def judge_values(
    values: np.ndarray, *, alpha: float = 0.05, max_changes: int = 20, min_relative: float = 1e-6
) -> Verdict:
    """As `Edge.detect`, with the reason where the test does not apply."""
    ready = prepare_values(values)
    if ready.because:
        return Verdict([], ready.because)
    clean = noise.cut_spikes(ready.values[None])[0]
    floor = min_relative * float(np.abs(ready.values).max())
    found = jumptest.find_changes(clean, ready.quantum, alpha, max_changes, floor)
    kept = without_shadows([placed_change(one, ready.places) for one in found])
    apart = [
        spike
        for spike in (spikes.find_spikes(values, alpha) if len(ready.places) == len(values) else [])
        if all(abs(spike.index - c.index) > NEAR + c.width // 2 for c in kept)
    ]
    return Verdict(sorted(kept + apart, key=lambda c: c.index))


def without_shadows(changes: list[Change]) -> list[Change]:
    """The corners of a ramp that a straight profile leaves over are no kinks of their own."""
    levels = [c for c in changes if c.kind != "kink"]
    return [
        c for c in changes if c.kind != "kink" or all(abs(c.index - o.index) > KINK_APART for o in levels)
    ]


def prepare_values(values: np.ndarray, *, logarithms: bool = True) -> Prepared:
    """Values (n,) as the test can take them; `logarithms` where the noise grows with the level."""
    grid = lattice.find_lattice(values)
    places = np.arange(len(values))
    quantum = grid.quantum
    if grid.held and not grid.period:
        return refuse_values(
            f"{grid.held:.0%} of the samples repeat the one before: the values are held, or a best so far"
        )
    if grid.period:
        places, values = lattice.drop_repeats(values)
        quantum = quantum[places]
        if len(values) < SHORTEST:
            return refuse_values(
                f"each value is held for {grid.period} samples, and only {len(values)} are left"
            )
    levels = len(np.unique(values))
    if quantum.any() and levels < FEWEST_LEVELS:
        return refuse_values(f"the values take only {levels} levels, and one step of a staircase is no jump")
    values = lattice.spread_over_cells(values, quantum)
    if logarithms and not quantum.any() and grows_with_level(values):
        values = np.log(values)
    return Prepared(values, quantum, places)


def refuse_values(because: str) -> Prepared:
    return Prepared(np.zeros(0), np.zeros(0), np.zeros(0, int), because)


def grows_with_level(values: np.ndarray) -> bool:
    """Whether the noise of positive values is rather relative than absolute."""
    if values.min() <= 0 or np.quantile(values, 0.95) < LEVEL_RANGE * np.quantile(values, 0.05):
        return False
    middle = (values[1:] + values[:-1]) / 2
    wobble = np.abs(np.diff(values) - np.median(np.diff(values)))
    plain = float(spearmanr(wobble, middle).statistic)
    relative = np.abs(np.diff(np.log(values)) - np.median(np.diff(np.log(values))))
    return plain > LEVEL_LINK and abs(float(spearmanr(relative, middle).statistic)) < plain


def placed_change(found: jumptest.FoundChange, places: np.ndarray) -> Change:
    """Indices among the samples that were tested, back in the series."""
    change = found.change
    last = len(places) - 1
    stride = max(int(np.median(np.diff(places))), 1)
    kind = change.shape
    assert kind != "bend"
    low, high = min(change.low, change.index), max(change.high, change.index)
    index, low, high = (int(places[min(max(i, 1), last)]) for i in (change.index, low, high))
    return Change(index, low, high, change.width * stride, found.p, kind)
