"""What the tests say, in plain words; 'no structure beyond densities' is an answer like any other."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from digsite.prune.judge.densities import Densities
from digsite.prune.judge.significance import Test, adjusted

LEVEL = 0.05


@dataclass(frozen=True)
class Judged:
    """A test with its q-value among all tests made."""

    test: Test
    q: float

    @property
    def found(self) -> bool:
        return self.q <= LEVEL


def judge_all(tests: Sequence[Test]) -> list[Judged]:
    return [Judged(test, q) for test, q in zip(tests, adjusted(list(tests)))]


def resolution(judged: Sequence[Judged]) -> str:
    """What this many draws can find at all: p is never below 1 / (draws + 1), and q grows with the number of tests."""
    least = min(1 / (one.test.draws + 1) for one in judged)
    needed = math.ceil(least * len(judged) / LEVEL - 1e-9)
    if needed <= 1:
        return ""
    best = max(judged, key=lambda one: one.test.z)
    draws = math.ceil(len(judged) / LEVEL)
    unless = (
        f" unless {needed} of {len(judged)} tests are as extreme as can be" if needed <= len(judged) else ""
    )
    return (
        f" With these draws nothing can be found{unless}; the largest z is {best.test.z:.1f} "
        f"({best.test.statistic.replace('_', ' ')} of {best.test.axis}), and draws={draws} could find it alone."
    )


def sentence(
    name: str, densities: Densities, judged: Sequence[Judged], separations: Sequence[Judged] = ()
) -> str:
    """Two sentences: is there structure that the margins do not make, and are the clusters part of it?"""
    margins = [one for one in judged if one.test.null == "margins"]
    found = [one for one in margins if one.found]
    share = f"row and column densities explain {densities.margins:.1%} of the mask's variance"
    if not found:
        first = f"{name}: no structure beyond densities ({_smallest(margins)}); {share}."
    else:
        best = max(found, key=lambda one: abs(one.test.z))
        first = (
            f"{name}: structure beyond densities, {_words(best)}, "
            f"in {len(found)} of {len(margins)} tests; {share}{_weight_part(best, judged)}."
        )
    return f"{first} {_clusters(separations)}" if separations else first


def _smallest(margins: Sequence[Judged]) -> str:
    if not margins:
        return "not tested"
    least = min(margins, key=lambda one: one.q)
    return f"smallest q = {least.q:.2g} over {len(margins)} tests against masks with the same margins"


def _words(one: Judged) -> str:
    test = one.test
    return f"{test.statistic.replace('_', ' ')} of {test.axis} at z = {test.z:.1f} (q = {one.q:.2g})"


def _weight_part(best: Judged, judged: Sequence[Judged]) -> str:
    """Whether shuffled weights make as much of it."""
    for one in judged:
        test = one.test
        if test.null == "reprune" and (test.statistic, test.axis) == (best.test.statistic, best.test.axis):
            own = "not" if one.found else "also"
            return f"; shuffling the weights inside their rows does {own} give it (z = {test.z:.1f})"
    return ""


def _clusters(separations: Sequence[Judged]) -> str:
    tighter = [one for one in separations if one.found]
    values = ", ".join(
        f"{one.test.statistic.partition('/')[2]}: {one.test.observed:.3f}" for one in separations
    )
    null = ", ".join(f"{one.test.null_mean:.3f}" for one in separations)
    if tighter:
        return f"Clusters are tighter than densities make them for {len(tighter)} of {len(separations)} k ({values}; same margins give {null})."
    return f"Clusters are no tighter than densities make them ({values}; same margins give {null})."
