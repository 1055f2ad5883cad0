"""The test for jumps: is a series likelier with one or two, and is its largest contrast larger than its own increments can make it?

The first question is that of likelihood, and knows any noise that is stationary or a walk (`likelihood`). For the second each
filter's output is divided by its own spread along the series and the largest quotient is judged by surrogates, which
knows any spectrum but a slow one badly; the change is then fitted under the noise model, whose gain knows a slow process well but
not what no model describes. Their sum of evidence is held against the table of how it falls out on series without jumps
(`jumptest_null.json`). What is larger must also break and not bend. Then it is taken out and the search goes on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from digsite.track.core import contrasts, likelihood, noise, shapes, surrogates, whittle
from digsite.track.core.shapes import FittedChange

TABLE = Path(__file__).with_name("jumptest_null.json")
SUSPECT = 2.5  # spreads; what is taken out before surrogates are drawn
CERTAIN = 8.0  # spreads, which noise alone does not reach
HUGE = 20.0  # spreads: a thousandth that is left of such a jump when it is taken out would be the heaviest tail of a short series
SHORT = 150  # samples; in a shorter series a suspect is most of what there is
MARGIN = 8
WIDE_MARGIN = 16
MISSES = 12  # places that bend, or say too little, before the search is given up
LOOSE = 0.3  # of surrogates: a place that more of them reach is not looked at
TRUST = 0.5  # in the noise model: its share of a log-likelihood ratio that counts
MOST_GAIN = 80.0  # beyond, the model's word is not believed to the letter
LEAST = 40  # samples from which a noise can be told from another
LIKELY_SHARE = 0.6  # of the error that is spent on changes by likelihood, the rest on the search
LATER = 0.2  # of that error beside earlier finds: what they take along leaves too calm a rest
PAIR_LEVEL = 0.06  # chance at which a single change would gain what the second of two adds
LONGEST = 700  # samples up to which filters of sixteen samples know the slow part of a noise; longer series are averaged
MOST_FOLD = 6  # samples in a mean: what is found in means is dated in samples, and so far around it is looked
NOT_YET = 4.0  # below the 5 %, with Gaussian noise, where Student's may still gain a little more
SHOCKED = ((60, 18.0), (300, 26.0))  # samples, and what changes must gain over a walk with heavy steps there
SHOCKED_MEANS = 40.0  # the same in means of several samples
BENT = 15.0  # gain of a smooth course beside the changes below which the base is level


@dataclass(frozen=True)
class FoundChange:
    """A change and the chance of one as large somewhere in such a series without jumps."""

    change: FittedChange
    p: float


class JumpSearch:
    """One series under test. `values` (n,) are free of spikes; `quantum` (n,) is the step of their lattice or zero."""

    def __init__(self, values: np.ndarray, quantum: np.ndarray) -> None:
        self.values = values
        self.scale = increment_scale(np.diff(values))
        self.quantum = quantum / np.r_[self.scale[:1], self.scale]
        self.bank = contrasts.usable_bank(len(values))
        self.kinks = [k for k, contrast in enumerate(self.bank) if contrast.kink]
        self.increments = np.diff(values) / self.scale
        self.increments = self.increments - self.increments[are_near(self.increments)].mean()
        self.spread = self.filter_spread()
        if self.largest_contrast() > CERTAIN:
            # A jump of many deviations looks like a drift of the whole series, so the drift is that of the rest.
            rest = self.without_rivals()[1]
            self.increments = self.increments - rest[are_near(rest)].mean()
            self.spread = self.filter_spread()
        calm, calmest = self.without_rivals()
        calm = calm if len(values) >= SHORT else self.increments
        self.noise = whittle.fit_noise(calmest)
        self.freedom = whittle.tail_freedom(whittle.prediction_errors(calmest, self.noise))
        self.null, self.kink_null = surrogates.surrogate_nulls(calm, freedom=self.freedom)
        self.covariance = self.noise.increment_covariance(2 * shapes.FAR)
        self.barred = np.zeros((len(self.bank), len(values) + 1), dtype=bool)

    def filter_spread(self) -> np.ndarray:
        """What each contrast is without a jump, over samples: spikes and jumps are kept out of the estimate."""
        samples = len(self.values)
        raw = [
            surrogates.clean_or_floor(row[None], contrast, surrogates.jumps_expected(samples))
            for row, contrast in zip(contrasts.apply_bank(self.increments), self.bank, strict=True)
        ]
        return surrogates.pooled_spread(np.stack(raw), samples)[:, 0]

    def contrasts_of(self, increments: np.ndarray) -> np.ndarray:
        """(filters, n + 1) estimated changes, zero where a window does not fit."""
        out = np.zeros((len(self.bank), len(self.values) + 1))
        for row, filtered, contrast in zip(out, contrasts.apply_bank(increments), self.bank, strict=True):
            row[contrast.half : contrast.half + len(filtered)] = filtered
        return out

    def largest_contrast(self) -> float:
        """In units of its spread: the statistic of the test."""
        return float((np.abs(self.contrasts_of(self.increments)) / self.spread[:, None]).max())

    def without_rivals(self) -> tuple[np.ndarray, np.ndarray]:
        """Increments without the second-largest contrast, and without the largest two.

        Of two jumps neither may make the other's null. The largest is the one asked about and stays in: taken out too, it
        would take the noise's own largest along, and surrogates of what is left are too calm by far. The noise model,
        which says where a find lies, has to be free of both.
        """
        calm = calmest = self.increments
        time = np.arange(len(self.values))
        for count in range(2):
            size = self.contrasts_of(calmest)
            z = np.abs(size) / self.spread[:, None]
            z[self.kinks] = 0
            k, i = np.unravel_index(int(z.argmax()), z.shape)
            if z[k, i] < SUSPECT:
                break
            shape = np.diff(size[k, i] * self.bank[k].profile(time - i + 0.5))
            calmest = calmest - shape
            calm = calm - shape if count else calm
            if z[k, i] > HUGE:
                inside = np.abs(time[1:] - i) <= self.bank[k].width
                calmest = np.where(inside, 0.0, calmest)
        return calm, calmest

    def strongest_change(self, kinks: bool = False) -> tuple[int, int, float]:
        """Filter, place and uncorrected chance of the largest level change (or kink) that is not barred."""
        null = self.kink_null if kinks else self.null
        size = np.abs(self.contrasts_of(self.increments))
        size[:, 1:] = np.maximum(size[:, 1:] - self.quantum[None, :], 0)
        z = size / (self.spread * null.weights)[:, None]
        z[self.barred] = 0
        k, i = np.unravel_index(int(z.argmax()), z.shape)
        return int(k), int(i), null.tail_probability(float(z[k, i]))

    def fitted_change(self, k: int, index: int) -> FittedChange:
        """The change near `index`, its size in the units of the series."""
        level = np.cumsum(np.r_[0.0, self.increments])
        change = shapes.fit_change(level, index, self.covariance, self.bank[k].degree)
        unit = self.scale[min(max(change.index - 1, 0), len(self.scale) - 1)]
        return replace(change, size=change.size * float(unit))

    def evidence(self, change: FittedChange, raw: float) -> float:
        """Of the surrogates (minus a logarithm) and of the noise model, which counts half of what it says."""
        if change.shape == "bend":
            return 0.0
        gain = whittle.gaussian_gain(min(change.gain, MOST_GAIN), self.freedom)
        return TRUST * gain / 2 - float(np.log(max(raw, 1e-300)))

    def bar_place(self, index: int, bends: bool) -> None:
        """No second find close by; a filter that takes trends for changes is silent in a whole bend."""
        self.barred[:, max(index - MARGIN, 0) : index + MARGIN] = True
        if bends:
            flat = [k for k, contrast in enumerate(self.bank) if contrast.degree == 0]
            self.barred[flat, max(index - WIDE_MARGIN, 0) : index + WIDE_MARGIN] = True


def find_changes(
    values: np.ndarray, quantum: np.ndarray, alpha: float, most: int, floor: float
) -> list[FoundChange]:
    """Changes with family-wise error `alpha`, at most `most`, none smaller than `floor`: by likelihood, then by search."""
    if not is_weighable(len(values)):
        return search_changes(values, quantum, alpha, most, floor, [])
    changes: list[FoundChange] = []
    left = values
    while len(changes) < most:
        share = LIKELY_SHARE * (LATER if changes else 1)
        more = [
            FoundChange(c.change, c.p / share)
            for c in likely_changes(left, quantum, share * alpha, floor)
            if all(abs(c.change.index - o.change.index) >= MARGIN for o in changes)
        ]
        if not more:
            break
        changes = (changes + more)[:most]
        left = left - sum(c.change.profile(len(values)) for c in more)
    rest = 1 - LIKELY_SHARE
    fold = -(-len(values) // LONGEST)
    near = range(-MARGIN * (fold - 1), MARGIN * fold, MARGIN)  # what means date badly leaves a rest around it
    settled = [(c.change.index + away, False) for c in changes for away in near]
    more = search_changes(left, quantum, rest * alpha, most - len(changes), floor, settled)
    return changes + [replace(c, p=min(c.p / rest, 1.0)) for c in more]


def is_weighable(samples: int) -> bool:
    """Whether changes are weighed by likelihood at this length."""
    return LEAST <= samples <= LONGEST * MOST_FOLD


def average_blocks(values: np.ndarray) -> np.ndarray:
    """Means of as many samples as bring `values` (n,) down to LONGEST; what is over at the start is left out."""
    fold = -(-len(values) // LONGEST)
    return values[len(values) % fold :].reshape(-1, fold).mean(1)


def may_be_shocks(values: np.ndarray, changes: list[FoundChange]) -> bool:
    """Whether a walk with heavy steps, measured with noise, makes `values` (n,) as well as these level changes do.

    The test then cannot tell: one large step of such a walk is a level change, and nothing that anyone did.
    """
    if not changes or not is_weighable(len(values)):
        return False
    left = average_blocks(values - sum(c.change.profile(len(values)) for c in changes))
    averaged, values = len(values) > LONGEST, average_blocks(values)
    gain = likelihood.gain_over_shocks(values, increment_scale(np.diff(values)), left, averaged)
    if averaged:
        return gain < SHOCKED_MEANS
    samples, limits = zip(*SHOCKED, strict=True)
    return gain < float(np.interp(np.log(len(values)), np.log(samples), limits))


def likely_changes(values: np.ndarray, quantum: np.ndarray, level: float, floor: float) -> list[FoundChange]:
    """At this level the change, or else the two changes, that are likelier than any noise and any smooth course without them."""
    means = average_blocks(values)
    null = likely_null(len(means))
    weighed = likelihood.weigh_changes(
        means, increment_scale(np.diff(means)), (null.single - NOT_YET, null.double - NOT_YET)
    )
    if weighed is None:
        return []
    step = average_blocks(quantum)
    p = [
        null.tail_probability(likely.evidence(step) - at)
        for likely, at in zip(weighed, (null.single, null.double), strict=True)
    ]
    if min(p) > level:
        return []
    # Two that hide each other are only seen together, but a second has to add what a single one would need.
    beside = null.tail_probability(weighed[1].gain - weighed[0].gain - null.single)
    likely = weighed[p[1] <= level and beside <= PAIR_LEVEL]
    if float(np.abs(likely.sizes).min()) <= floor:
        return []
    fold = -(-len(values) // LONGEST)
    fine = replace(
        likely, places=likely.places * fold + len(values) % fold, widths=1 + (likely.widths - 1) * fold
    )
    changes = [FoundChange(change, min(p)) for change in shaped_changes(values, fine)]
    if len(changes) > 1 and p[0] <= level:
        at = int(weighed[0].places[0]) * fold + len(values) % fold
        first = min(changes, key=lambda c: abs(c.change.index - at))
        changes = [
            c if c is first else replace(c, p=max(c.p, beside))
            for c in changes
            if c is first or beside <= level
        ]
    return changes


def shaped_changes(values: np.ndarray, likely: likelihood.LikelyChanges) -> list[FittedChange]:
    """Each change where the noise without all of them says, or none if one only bends.

    Where no smooth course is left beside the changes there is nothing that could bend, and nobody is asked.
    """
    scale = increment_scale(np.diff(values))
    profiles = likely.profiles(len(values))
    rest = np.diff(values - profiles.sum(0)) / scale
    rest = rest - rest.mean()
    covariance = whittle.fit_noise(rest).increment_covariance(2 * shapes.FAR)
    out = []
    for start, size, profile in zip(likely.places.tolist(), likely.sizes.tolist(), profiles, strict=True):
        level = np.cumsum(np.r_[0.0, rest + np.diff(profile) / scale])
        change = shapes.fit_change(level, start, covariance, 0, breaks=likely.bent < BENT)
        if change.shape in ("bend", "kink"):
            return []
        # The size that the whole series says: what a window misses of it would be the next find of a long series.
        out.append(replace(change, size=size))
    return out


def search_changes(
    values: np.ndarray,
    quantum: np.ndarray,
    alpha: float,
    most: int,
    floor: float,
    settled: list[tuple[int, bool]],
) -> list[FoundChange]:
    """Changes one at a time, by surrogates and noise model; `settled` places (and whether they bend) are not asked about.

    After each find the noise is learned anew from what is left, as the jump no longer hides it; places that said too
    little before are then asked again.
    """
    search = JumpSearch(values, quantum)
    for at, bends in settled:
        search.bar_place(at, bends)
    changes: list[FoundChange] = []
    left = values
    misses = 0
    while len(changes) < most and misses < MISSES:
        candidate = strongest_fit(search)
        if candidate is None:
            break
        index, change, evidence = candidate
        p = corrected_jump_p(evidence, len(values))
        if p <= alpha and change.shape != "bend" and abs(change.size) > floor:
            settled = [*settled, (index, False), (change.index, False)]
            left = left - change.profile(len(values))
            changes.append(FoundChange(change, p))
            search = JumpSearch(left, quantum)
            for at, bends in settled:
                search.bar_place(at, bends)
        else:
            misses += 1
            settled = [*settled, (index, True)] if change.shape == "bend" else settled
            search.bar_place(index, bends=True)
    return changes


def strongest_fit(search: JumpSearch) -> tuple[int, FittedChange, float] | None:
    """The place that fewest surrogates reach, of a level change or else of a kink, its fit and the evidence for it."""
    for kinks in (False, True):
        k, index, raw = search.strongest_change(kinks)
        if raw <= LOOSE:
            change = search.fitted_change(k, index)
            return index, change, search.evidence(change, raw)
    return None


def are_near(increments: np.ndarray) -> np.ndarray:
    """Which increments are not huge: one of a thousand deviations tilts a series of forty, and counts for no scale."""
    away = np.abs(increments - np.median(increments))
    return away <= HUGE * 1.4826 * np.median(away)


def increment_scale(increments: np.ndarray) -> np.ndarray:
    """Relative strength of the increments along the series, about one, blind to trends and single steps."""
    increments = np.where(are_near(increments), increments, np.median(increments))
    pieces, middles = noise.cut_windows(increments[None])
    trend = noise.spread_knots(np.median(pieces, axis=-1), middles, len(increments))
    scale = noise.clipped_scale(increments[None] - trend)[0]
    scale = np.maximum(scale, 1e-9 * float(np.abs(increments).max()) + np.finfo(float).tiny)
    return scale / np.exp(np.log(scale).mean())


def corrected_jump_p(evidence: float, samples: int) -> float:
    """The share of series without jumps that have as much evidence for one."""
    at, levels = null_knots(samples)
    y = -np.log(levels)
    if evidence >= at[-1]:
        slope = (y[-1] - y[1]) / (at[-1] - at[1])
        return float(np.exp(-(y[-1] + slope * (evidence - at[-1]))))
    return float(np.exp(-np.interp(evidence, np.r_[0, at], np.r_[0, y])))


def null_knots(samples: int) -> tuple[np.ndarray, np.ndarray]:
    """At this length: the evidence that a share of series without jumps exceeds, and these shares."""
    sizes, levels, knots = _jump_null_table()
    x = np.log(samples)
    return np.array([np.interp(x, np.log(sizes), column) for column in knots.T]), levels


@dataclass(frozen=True)
class LikelyNull:
    """Gains of a `single` change and of a `double` one that 5 % of series without jumps reach, and how far beyond some shares get."""

    single: float
    double: float
    beyond: np.ndarray
    levels: np.ndarray

    def tail_probability(self, beyond: float) -> float:
        """The share of series without jumps in which the gain of one or of two is so far beyond those."""
        y = -np.log(self.levels)
        if beyond >= self.beyond[-1]:
            slope = (y[-1] - y[0]) / (self.beyond[-1] - self.beyond[0])
            return float(np.exp(-(y[-1] + slope * (beyond - self.beyond[-1]))))
        return float(np.exp(-np.interp(beyond, self.beyond, y))) if beyond >= self.beyond[0] else 1.0


@lru_cache(maxsize=16)
def likely_null(samples: int) -> LikelyNull:
    """Its null distribution at this length, simulated once and stored."""
    stored = json.loads(TABLE.read_text())["likelihood"]
    x, at = np.log(samples), np.log(stored["sizes"])
    single, double, *beyond = (
        float(np.interp(x, at, column))
        for column in (stored["one"], stored["two"], *np.array(stored["beyond"]).T)
    )
    return LikelyNull(single, double, np.array(beyond), np.array(stored["levels"]))


@lru_cache(maxsize=1)
def _jump_null_table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Its null distribution by length and number of samples, simulated once and stored."""
    stored = json.loads(TABLE.read_text())
    return np.array(stored["sizes"]), np.array(stored["levels"]), np.array(stored["evidence"])
