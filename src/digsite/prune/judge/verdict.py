"""What the tests say, in plain words; 'no structure beyond densities' is an answer like any other."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from digsite.base.intervals import Z
from digsite.prune.judge.significance import Test, adjusted
from digsite.record.verdict import cite

if TYPE_CHECKING:
    from digsite.worker.run import Run

LEVEL = 0.05
WORDS = {
    "top_singular": "Largest singular value",
    "nearest_phi": "Similarity to the nearest neighbor",
    "phi_spread": "Spread of similarities",
}
NULL_WORDS = {
    "margins": "masks with the same densities",
    "coin_flips": "coin flips",
    "reprune": "masks of shuffled weights",
}


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


def claim_resolution(run: "Run", judged: Sequence[Judged], ids: Sequence[str]) -> str:
    """What this many draws can find at all: p is never below 1 / (draws + 1), and q grows with the number of tests.

    `ids`: the claims of the tests, in order. Returns a sentence, empty where the draws suffice; its numbers become
    measurements.
    """
    least = min(1 / (one.test.draws + 1) for one in judged)
    needed = math.ceil(least * len(judged) / LEVEL - 1e-9)
    if needed <= 1:
        return ""
    place = max(range(len(judged)), key=lambda i: judged[i].test.z)
    run.claim(
        "resolution/draws",
        math.ceil(len(judged) / LEVEL),
        kind="count",
        title="Draws that could find one alone",
    )
    run.claim(
        "resolution/tests", needed, kind="count", title="Tests that would have to be as extreme as can be"
    )
    unless = (
        f" unless {cite('resolution/tests')} of {cite('tests/found', 'n')} tests are as extreme as can be"
        if needed <= len(judged)
        else ""
    )
    best = judged[place].test
    at = f"z = {cite(ids[place], style='.1f')}" if best.null_std > 0 else "no z"
    return (
        f" With these draws nothing can be found{unless}; the largest is {at} "
        f"({WORDS.get(best.statistic, best.statistic).lower()} of {best.axis}), and "
        f"draws={math.ceil(len(judged) / LEVEL)} could find it alone."
    )


def name_test(one: Judged, where: str = "") -> str:
    """The claim's name of a test."""
    test = one.test
    return f"{where}{test.statistic}/{test.axis}/{test.null}"


def claim_tests(
    run: "Run", judged: Sequence[Judged], where: str = "", *, asked: str = "top_singular", name: str = ""
) -> None:
    """Tests against masks with the same margins, as z with the q over all tests of the run.

    `judged`: the tests of one mask. `where`: a prefix of their names, `name` that of the mask in titles. `asked`: the
    statistic that was chosen before looking; it has an interval, the others are measurements.
    """
    for one in judged:
        test = one.test
        interval = (
            (test.z - Z, test.z + Z) if test.statistic == asked and test.null == "margins" else (None, None)
        )
        run.claim(
            name_test(one, where),
            test.z if test.null_std > 0 else None,
            low=interval[0],
            high=interval[1],
            n=test.draws,
            null=0.0,
            null_is=NULL_WORDS.get(test.null, test.null),
            p=one.q,
            kind="difference",
            unit="sd",
            title=f"{WORDS.get(test.statistic, test.statistic)} of {test.axis}{f' of {name}' if name else ''}, "
            f"beyond {NULL_WORDS.get(test.null, test.null)}",
        )


def claim_share(run: "Run", name: str, judged: Sequence[Judged], title: str) -> None:
    """How many of some tests found something, beside what the false discovery rate lets through."""
    hits = sum(one.found for one in judged)
    null_is = "false discoveries that are let through"
    run.claim_share(name, hits, len(judged), null=LEVEL, null_is=null_is, title=title)


def sentence(
    name: str,
    judged: Sequence[Judged],
    separations: Sequence[Judged] = (),
    *,
    share: str = "density/margins_share",
) -> str:
    """Two sentences: is there structure that the margins do not make, and are the clusters part of it?

    `share`: the claim of what densities explain; `judged` were claimed by `claim_tests`, and `tests/found` by
    `claim_share`.
    """
    margins = [one for one in judged if one.test.null == "margins"]
    found = [one for one in margins if one.found]
    dense = f"row and column densities explain {cite(share)} of the mask's variance"
    if not found:
        first = f"'{name}': no structure beyond densities ({_smallest(margins)}); {dense}."
    else:
        best = max(found, key=lambda one: abs(one.test.z))
        first = (
            f"'{name}': structure beyond densities, {_words(best)}, in {cite('tests/found', 'hits')} of "
            f"{cite('tests/found', 'n')} tests; {dense}{_weight_part(best, judged)}."
        )
    return f"{first} {_clusters(separations)}" if separations else first


def _smallest(margins: Sequence[Judged]) -> str:
    if not margins:
        return "not tested"
    least = min(margins, key=lambda one: one.q)
    return (
        f"smallest corrected {cite(name_test(least), 'p')} over {cite('tests/found', 'n')} tests against masks with "
        "the same margins"
    )


def _words(one: Judged) -> str:
    what = WORDS.get(one.test.statistic, one.test.statistic.replace("_", " ")).lower()
    return f"{what} of {one.test.axis} at z = {cite(name_test(one), style='.1f')} (corrected {cite(name_test(one), 'p')})"


def _weight_part(best: Judged, judged: Sequence[Judged]) -> str:
    """Whether shuffled weights make as much of it."""
    for one in judged:
        test = one.test
        if test.null == "reprune" and (test.statistic, test.axis) == (best.test.statistic, best.test.axis):
            own = "not" if one.found else "also"
            at = f" (z = {cite(name_test(one), style='.1f')})" if test.null_std > 0 else ""
            return f"; shuffling the weights inside their rows does {own} give it{at}"
    return ""


def _clusters(separations: Sequence[Judged]) -> str:
    """Ratios and what the same margins give, both from the claims of the ratios."""
    of = [f"separation_ratio/{one.test.statistic.partition('/')[2]}" for one in separations]
    values = ", ".join(f"{claim.partition('/')[2]}: {cite(claim, style='.3f')}" for claim in of)
    null = ", ".join(cite(claim, "null", ".3f") for claim in of)
    if any(one.found for one in separations):
        return (
            f"Clusters are tighter than densities make them for {cite('clusters/tighter', 'hits')} of "
            f"{cite('clusters/tighter', 'n')} numbers of clusters ({values}; same margins give {null})."
        )
    return f"Clusters are no tighter than densities make them ({values}; same margins give {null})."
