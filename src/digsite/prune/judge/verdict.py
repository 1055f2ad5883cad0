"""Statistics of a mask against draws from a null model, and what they say: p, z, effect, false discovery rate, in words.

'No structure beyond densities' is an answer like any other. Where a test is beyond nearly all of its draws it gets as many
more as its q-value needs.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import false_discovery_control

from digsite.base import families
from digsite.base.contract import Numbers, public_method
from digsite.base.errors import UsageError, name_nearest
from digsite.base.intervals import Z
from digsite.prune.core.packed import PackedMask, orient_features
from digsite.prune.judge.nulls import ObservedMask
from digsite.prune.judge.statistics import MaskView
from digsite.record.verdict import cite

if TYPE_CHECKING:
    from digsite.worker.run import Run

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


NULLS = "digsite.prune.judge.nulls"
STATISTICS = "digsite.prune.judge.statistics"
LEVEL = 0.05  # of the false discovery rate over all tests of a run
DEFAULT = ("top_singular", "nearest_phi", "phi_spread")


@dataclass(frozen=True)
class NullTest:
    """One statistic against one null. p = (1 + #as extreme) / (draws + 1); effect = observed / null mean - 1."""

    __test__ = False  # not a test case, whatever a test collector thinks of the name

    statistic: str
    null: str
    axis: str
    observed: float
    null_mean: float
    null_std: float
    p: float
    draws: int

    @property
    def as_extreme(self) -> int:
        """Draws at least as extreme as what was seen."""
        return round(self.p * (self.draws + 1)) - 1

    @property
    def z(self) -> float:
        """0 where the null does not vary: then it says nothing."""
        return (self.observed - self.null_mean) / self.null_std if self.null_std > 0 else 0.0

    @property
    def effect(self) -> float:
        """How much larger than the null's mean: z grows with the size of a matrix, this does not."""
        return self.observed / self.null_mean - 1 if self.null_mean else 0.0


def judge_statistic(
    statistic: str, null: str, axis: str, observed: float, drawn: Iterable[float], tail: str
) -> NullTest:
    """The observed value counts among the draws, (1 + extreme) / (1 + draws): p is then valid and never zero."""
    values = np.asarray(list(drawn), dtype=float)
    # Equal up to rounding is "as extreme": an invariant statistic must not come out as significant.
    slack = 1e-9 * max(abs(observed), 1e-300)
    extreme = (values >= observed - slack) if tail == "upper" else (values <= observed + slack)
    p = (1 + int(extreme.sum())) / (len(values) + 1)
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    spread = spread if spread > 1e-12 * abs(float(values.mean())) else 0.0
    return NullTest(statistic, null, axis, float(observed), float(values.mean()), spread, p, len(values))


@public_method(mask=Numbers(2, arrays_only=False))
def null_test(
    mask: np.ndarray | PackedMask,
    null: str = "margins",
    axis: str = "columns",
    statistics: Iterable[str] = DEFAULT,
    draws: int = 99,
    seed: int = 0,
    *,
    observed: ObservedMask | None = None,
    engine: str = "auto",
) -> list[NullTest]:
    """Test every statistic of a mask's features against `draws` masks of a null model.

    `observed` brings what the null 'reprune' needs: weights, and how they were pruned.

    `mask` (out, in) is True where a weight stays; `null` names the null model, `axis` what a feature is
    (`columns` or `rows`), `statistics` what is measured; `seed` draws the masks, `engine` is that of the
    distances.
    """
    members = _choose_members(STATISTICS, statistics)
    model = _choose_members(NULLS, [null])[null]
    packed = orient_features(mask, "rows")
    source = observed or ObservedMask(packed, engine=engine)
    if draws < 1:
        raise UsageError(f"{draws} null draws were asked for; a p-value needs at least 19 to reach 0.05.")
    seen = _compute_all(members, packed, axis, engine)
    drawn = [_compute_all(members, draw, axis, engine) for draw in model().draw_masks(source, draws, seed)]
    return [
        judge_statistic(name, null, axis, seen[name], [values[name] for values in drawn], members[name].TAIL)
        for name in members
    ]


def _compute_all(members: dict, mask: PackedMask, axis: str, engine: str) -> dict[str, float]:
    """Every statistic on one view, which keeps what they share."""
    view = MaskView(orient_features(mask, axis), engine)
    return {name: member().compute_value(view) for name, member in members.items()}


def _choose_members(family: str, wanted: Iterable[str]) -> dict:
    """The members that were asked for, or the name that is nearest."""
    known = families.list_members(family)
    chosen = list(wanted)
    for name in chosen:
        if name not in known:
            raise UsageError(
                f"There is no {family.rsplit('.', 1)[1].rstrip('s')} '{name}'. {name_nearest(name, known)}"
            )
    members = families.scan_family(family)
    return {name: members[name] for name in chosen}


def adjust_pvalues(tests: list[NullTest]) -> list[float]:
    """Benjamini-Hochberg q-values, over every test made."""
    return false_discovery_control([test.p for test in tests]).tolist() if tests else []


FEW = 3  # this many draws as extreme as the mask settle a test: more draws would not make it significant
# Tests by index, made again with so many draws from the same stream.
TestAgain = Callable[[list[int], int], list[NullTest]]


def sharpen_tests(tests: Sequence[NullTest], again: TestAgain, most: int) -> list[NullTest]:
    """The tests, the unsettled ones with more draws; p-values stay exact.

    That is Besag and Clifford's sequential test in stages: whether a p-value below some level is reported never
    needs more than the draws at one fixed stage to be that extreme.
    """
    tests = list(tests)
    while unsettled := [i for i, test in enumerate(tests) if test.as_extreme < FEW]:
        draws = min(most, draws_needed(len(unsettled), len(tests)))
        short = [i for i in unsettled if tests[i].draws < draws]
        if not short:
            break
        for i, test in zip(short, again(short, draws), strict=True):
            tests[i] = test
    return tests


def draws_needed(n_unsettled: int, n_tests: int) -> int:
    """So many that all unsettled tests pass the false discovery rate, even with one draw as extreme as each."""
    return math.ceil(2 * n_tests / (LEVEL * n_unsettled) - 1e-9) - 1


@dataclass(frozen=True)
class JudgedTest:
    """A test with its q-value among all tests made."""

    test: NullTest
    q: float

    @property
    def found(self) -> bool:
        """After correction for everything that was tested."""
        return self.q <= LEVEL

    @property
    def against_densities(self) -> bool:
        """Whether it stands beside masks with the same margins."""
        return families.read_tag(NULLS, self.test.null, "KEEPS_DENSITIES")

    @property
    def against_shuffles(self) -> bool:
        """Whether it stands beside shuffled weights that were pruned again."""
        return families.read_tag(NULLS, self.test.null, "PRUNES_AGAIN")


def judge_all(tests: Sequence[NullTest]) -> list[JudgedTest]:
    """Benjamini and Hochberg's q over all tests together."""
    return [JudgedTest(test, q) for test, q in zip(tests, adjust_pvalues(list(tests)))]


def claim_resolution(run: "Run", judged: Sequence[JudgedTest], ids: Sequence[str]) -> str:
    """What this many draws can find at all: p is never below 1 / (draws + 1), and q grows with the number of tests.

    `ids`: the claims of the tests, in order. Returns a sentence, empty where the draws suffice; its numbers become
    measurements.
    """
    least = min(1 / (judged_test.test.draws + 1) for judged_test in judged)
    needed = math.ceil(least * len(judged) / LEVEL - 1e-9)
    if needed <= 1:
        return ""
    position = max(range(len(judged)), key=lambda i: judged[i].test.z)
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
    best = judged[position].test
    at = f"z = {cite(ids[position], style='.1f')}" if best.null_std > 0 else "no z"
    return (
        f" With these draws nothing can be found{unless}; the largest is {at} "
        f"({WORDS.get(best.statistic, best.statistic).lower()} of {best.axis}), and "
        f"draws={math.ceil(len(judged) / LEVEL)} could find it alone."
    )


def name_test(judged_test: JudgedTest, where: str = "") -> str:
    """The claim's name of a test."""
    test = judged_test.test
    return f"{where}{test.statistic}/{test.axis}/{test.null}"


def claim_tests(
    run: "Run", judged: Sequence[JudgedTest], where: str = "", *, asked: str = "top_singular", name: str = ""
) -> None:
    """Tests against masks with the same margins, as z with the q over all tests of the run.

    `judged`: the tests of one mask. `where`: a prefix of their names, `name` that of the mask in titles. `asked`: the
    statistic that was chosen before looking; it has an interval, the others are measurements.
    """
    for judged_test in judged:
        test = judged_test.test
        interval = (
            (test.z - Z, test.z + Z)
            if test.statistic == asked and judged_test.against_densities
            else (None, None)
        )
        run.claim(
            name_test(judged_test, where),
            test.z if test.null_std > 0 else None,
            low=interval[0],
            high=interval[1],
            n=test.draws,
            null=0.0,
            null_is=NULL_WORDS.get(test.null, test.null),
            p=judged_test.q,
            kind="difference",
            unit="sd",
            title=f"{WORDS.get(test.statistic, test.statistic)} of {test.axis}{f' of {name}' if name else ''}, "
            f"beyond {NULL_WORDS.get(test.null, test.null)}",
        )


def claim_share(run: "Run", name: str, judged: Sequence[JudgedTest], title: str) -> None:
    """How many of some tests found something, beside what the false discovery rate lets through."""
    hits = sum(judged_test.found for judged_test in judged)
    null_is = "false discoveries that are let through"
    run.claim_share(name, hits, len(judged), null=LEVEL, null_is=null_is, title=title)


def say_mask(
    name: str,
    judged: Sequence[JudgedTest],
    separations: Sequence[JudgedTest] = (),
    *,
    share: str = "density/margins_share",
) -> str:
    """Two sentences: is there structure that the margins do not make, and are the clusters part of it?

    `share`: the claim of what densities explain; `judged` were claimed by `claim_tests`, and `tests/found` by
    `claim_share`.
    """
    margins = [judged_test for judged_test in judged if judged_test.against_densities]
    hits = [judged_test for judged_test in margins if judged_test.found]
    dense = f"row and column densities explain {cite(share)} of the mask's variance"
    if not hits:
        first = f"'{name}': no structure beyond densities ({_say_smallest(margins)}); {dense}."
    else:
        best = max(hits, key=lambda judged_test: abs(judged_test.test.z))
        first = (
            f"'{name}': structure beyond densities, {_say_test(best)}, in {cite('tests/found', 'hits')} of "
            f"{cite('tests/found', 'n')} tests; {dense}{_weight_part(best, judged)}."
        )
    return f"{first} {_say_clusters(separations)}" if separations else first


def _say_smallest(margins: Sequence[JudgedTest]) -> str:
    """For a verdict that finds nothing: how near the nearest came."""
    if not margins:
        return "not tested"
    least = min(margins, key=lambda judged_test: judged_test.q)
    return (
        f"smallest corrected {cite(name_test(least), 'p')} over {cite('tests/found', 'n')} tests against masks with "
        "the same margins"
    )


def _say_test(judged_test: JudgedTest) -> str:
    """One test in words."""
    what = WORDS.get(judged_test.test.statistic, judged_test.test.statistic.replace("_", " ")).lower()
    return f"{what} of {judged_test.test.axis} at z = {cite(name_test(judged_test), style='.1f')} (corrected {cite(name_test(judged_test), 'p')})"


def _weight_part(best: JudgedTest, judged: Sequence[JudgedTest]) -> str:
    """Whether shuffled weights make as much of it."""
    for judged_test in judged:
        test = judged_test.test
        if judged_test.against_shuffles and (test.statistic, test.axis) == (
            best.test.statistic,
            best.test.axis,
        ):
            own = "not" if judged_test.found else "also"
            at = f" (z = {cite(name_test(judged_test), style='.1f')})" if test.null_std > 0 else ""
            return f"; shuffling the weights inside their rows does {own} give it{at}"
    return ""


def _say_clusters(separations: Sequence[JudgedTest]) -> str:
    """Ratios and what the same margins give, both from the claims of the ratios."""
    of = [f"separation_ratio/{separation.test.statistic.partition('/')[2]}" for separation in separations]
    values = ", ".join(f"{claim.partition('/')[2]}: {cite(claim, style='.3f')}" for claim in of)
    null = ", ".join(cite(claim, "null", ".3f") for claim in of)
    if any(separation.found for separation in separations):
        return (
            f"Clusters are tighter than densities make them for {cite('clusters/tighter', 'hits')} of "
            f"{cite('clusters/tighter', 'n')} numbers of clusters ({values}; same margins give {null})."
        )
    return f"Clusters are no tighter than densities make them ({values}; same margins give {null})."
