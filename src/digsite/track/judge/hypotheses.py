"""The original's hypotheses as tests: effect, interval, null, and a verdict that may be withheld."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd

from digsite.base.intervals import FEWEST, seed_interval
from digsite.track.judge.phases import Phase1


@dataclass(frozen=True)
class Hypothesis:
    """`effect` is the value minus the null; `smallest` is the least effect of interest; `corrected` is Holm's p."""

    claim: str
    value: float
    null: float
    effect: Effect
    smallest: float
    corrected: float = 1.0

    @property
    def answer(self) -> Answer:
        """By the corrected p: of eleven hypotheses one or more would hold by chance in four tables of ten."""
        adjusted = replace(self.effect, p=self.corrected).answer(self.smallest)
        return "no" if adjusted == "yes" and self.effect.value < 0 else adjusted

    def row(self) -> dict[str, Any]:
        """One line of the table."""
        shown = {name: value for name, value in asdict(self.effect).items() if name != "value"}
        return {"hypothesis": self.claim, "answer": self.answer, "value": self.value, "null": self.null} | {
            "effect": self.effect.value,
            **shown,
            "corrected_p": self.corrected,
        }


def test_hypotheses(
    result: Phase1, rng: np.random.Generator, beside: Sequence[float] = ()
) -> list[Hypothesis]:
    """One unit per network, each against what the same detector or networks of other seeds give without the effect.

    `beside`: p of further tests in the same table, which are corrected for together with these.
    """
    edge = result.detectors.set_index("detector").loc["edge"]
    rate = _rate_per_run(result, 0.0, 1.01)
    crowd, late = (_rate_per_run(result, low, high) for low, high in ((0.0, 0.1), (0.5, 1.01)))
    known = (
        result.critical
        if len(result.critical)
        else pd.DataFrame(columns=["coordination_excess", "loss_difference"])
    )
    if "other_seeds" in known:
        known = known[known.other_seeds > 0]  # without another seed there is no null
    tests = [
        _test_against(
            "layers jump more often than smooth curves with the same noise",
            rate.rate,
            edge.null_per_series,
            0.05,
            rng,
        ),
        _test_against(
            "jumps crowd in the first tenth of training", crowd.rate, edge.null_early_per_series, 0.05, rng
        ),
        _test_against(
            "jumps happen in the second half of training", late.rate, edge.null_late_per_series, 0.05, rng
        ),
        _compare_families("transformers jump more often than MLPs", rate, "transformer", "mlp", rng),
        _compare_families("CNNs jump more often than MLPs", rate, "cnn", "mlp", rng),
        _test_against("layers are fast together beyond chance", known.coordination_excess, 0.0, 0.01, rng),
        _test_against("the loss falls more often at fast samples", known.loss_difference, 0.0, 0.02, rng),
        _test_against(
            "layers settle from the bottom up",
            (result.convergence.order == "bottom-up").astype(float),
            0.025,
            0.05,
            rng,
        ),
    ]
    corrected = correct_by_holm([*(test.effect.p for test in tests), *beside])
    return [replace(test, corrected=p) for test, p in zip(tests, corrected)]


def _rate_per_run(result: Phase1, low: float, high: float) -> pd.DataFrame:
    """Jumps per layer of each network in one part of training; a network without jumps counts with none."""
    sizes: Any = result.layers.groupby(["experiment", "family"]).size()
    per_run = sizes.rename("layers").reset_index()
    inside = (
        result.jumps[result.jumps.phase.between(low, high, inclusive="left")]
        if len(result.jumps)
        else result.jumps
    )
    counts: Any = inside.groupby("experiment").size() if len(inside) else pd.Series(dtype=int)
    per_run["rate"] = per_run.experiment.map(counts).fillna(0) / per_run.layers
    return per_run


def _test_against(
    claim: str, values: Sequence[float] | pd.Series, null: float, smallest: float, rng: np.random.Generator
) -> Hypothesis:
    """Mean against a fixed null, by sign flips."""
    x = np.asarray(values, dtype=float)
    x = x[np.isfinite(x)]
    value = float(x.mean()) if len(x) else float("nan")
    return Hypothesis(claim, value, null, seed_effect((x - null).tolist(), rng), smallest)


def _compare_families(
    claim: str, per_run: pd.DataFrame, left: str, right: str, rng: np.random.Generator, smallest: float = 0.1
) -> Hypothesis:
    """Two families' rates, by exchanging labels."""
    a, b = (per_run.rate[per_run.family == family].tolist() for family in (left, right))
    nan = float("nan")
    value, null = (float(np.mean(side)) if side else nan for side in (a, b))
    return Hypothesis(claim, value, null, contrast_groups(a, b, rng), smallest)


# Effects with intervals over seeds and a permutation p: yes, no, or not decidable with this power.

Answer = Literal["yes", "no", "not decidable with this power"]
EXACT = 12  # up to this many seeds all sign flips are counted


@dataclass(frozen=True)
class Effect:
    """Median over independent units, its 95 % interval, and the p of a sign-flip test against zero."""

    value: float
    low: float
    high: float
    p: float
    n: int

    def answer(self, smallest: float) -> Answer:
        """Yes when clearly beyond zero, no when the interval excludes every effect of interest."""
        if self.p < 0.05 and self.low * self.high > 0:
            return "yes"
        if self.n > 1 and max(abs(self.low), abs(self.high)) < smallest:
            return "no"
        return "not decidable with this power"


def correct_by_holm(p_values: Sequence[float]) -> list[float]:
    """Each p corrected for all of them, so that one false "yes" in the whole table happens in 5 % of tables at most."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


def seed_effect(values: Sequence[float], rng: np.random.Generator) -> Effect:
    """One value per seed; fewer than two have no interval."""
    x = np.asarray([v for v in values if np.isfinite(v)], dtype=float)
    if len(x) == 0:
        return Effect(float("nan"), float("-inf"), float("inf"), 1.0, 0)
    over = seed_interval(x.tolist(), "difference")
    if len(x) == 1:
        return Effect(over.value, float("-inf"), float("inf"), 1.0, 1)
    if over.low is None or over.high is None:  # too few units, or units that agree: the test alone speaks
        low, high = (float(x.min()), float(x.max())) if len(x) >= FEWEST else (float("-inf"), float("inf"))
        return Effect(over.value, low, high, _sign_flip(x, rng), len(x))
    return Effect(over.value, over.low, over.high, _sign_flip(x, rng), len(x))


def _sign_flip(x: np.ndarray, rng: np.random.Generator) -> float:
    """Exact where all signs can be listed, else drawn; p is never zero."""
    if len(x) <= EXACT:
        signs = np.array(list(product((-1.0, 1.0), repeat=len(x))))
        return float(np.mean(np.abs(signs @ x) >= abs(x.sum()) - 1e-12))
    signs = rng.choice([-1.0, 1.0], size=(5000, len(x)))
    return float((1 + np.sum(np.abs(signs @ x) >= abs(x.sum()) - 1e-12)) / 5001)


def contrast_groups(
    left: Sequence[float], right: Sequence[float], rng: np.random.Generator, draws: int = 5000
) -> Effect:
    """Difference of two groups' means with Welch's interval and a permutation p."""
    from scipy.stats import ttest_ind

    a, b = (np.asarray([v for v in side if np.isfinite(v)], dtype=float) for side in (left, right))
    if min(len(a), len(b)) < 2:
        value = float(a.mean() - b.mean()) if len(a) and len(b) else float("nan")
        return Effect(value, float("-inf"), float("inf"), 1.0, min(len(a), len(b)))
    value = float(a.mean() - b.mean())
    if a.std() == 0 and b.std() == 0:
        interval = (value, value)
    else:
        confidence = ttest_ind(a, b, equal_var=False).confidence_interval()
        interval = (float(confidence.low), float(confidence.high))
    both = np.r_[a, b]
    shuffled = rng.permuted(np.tile(both, (draws, 1)), axis=1)
    null = np.abs(shuffled[:, : len(a)].mean(1) - shuffled[:, len(a) :].mean(1))
    p = (1 + np.sum(null >= abs(value) - 1e-12)) / (draws + 1)
    return Effect(value, *interval, float(p), min(len(a), len(b)))
