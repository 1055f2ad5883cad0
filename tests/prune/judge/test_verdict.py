"""Sentences about masks: written from the claims of the tests, so that sentence and table cannot disagree."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from digsite.base.errors import UsageError
from digsite.prune.judge.verdict import (
    DEFAULT,
    FEW,
    NullTest,
    adjust_pvalues,
    claim_resolution,
    claim_share,
    claim_tests,
    draws_needed,
    judge_all,
    judge_statistic,
    name_test,
    null_test,
    say_mask,
    sharpen_tests,
)
from digsite.record.results import About, make_claim
from digsite.record.verdict import fill_verdict

NULL = np.linspace(0, 1, 99)


class Claims(dict):
    """What `Run` does with a claim, in memory."""

    def claim(self, name, value=None, **about):
        self[name] = make_claim(name, value, **{k: v for k, v in about.items() if k in About.__annotations__})

    def claim_share(self, name, hits, n, **about):
        self.claim(name, hits / n if n else None, n=n, **{"kind": "share", **about})

    def said(self, text: str) -> str:
        return fill_verdict(text, list(self.values()))[0]


@pytest.fixture
def run():
    made = Claims()
    made.claim("density/margins_share", 0.3, kind="share")
    return made


def judged_of(run, *tests):
    judged = judge_all(list(tests))
    claim_tests(run, judged)
    claim_share(run, "tests/found", [one for one in judged if one.test.null == "margins"], "found")
    return judged


def test_no_structure_is_an_answer(run):
    judged = judged_of(
        run,
        judge_statistic("top_singular", "margins", "rows", 0.5, NULL, "upper"),
        judge_statistic("top_singular", "coin_flips", "rows", 9.0, NULL, "upper"),
    )
    text = run.said(say_mask("q_proj", judged))
    assert (
        text.startswith("'q_proj': no structure beyond densities (smallest corrected p = ")
        and "1 tests" in text
    )
    assert "30.0 % of the mask's variance" in text


def test_structure_says_which_where_and_whether_weights_matter(run):
    judged = judged_of(
        run,
        judge_statistic("top_singular", "margins", "rows", 9.0, NULL, "upper"),
        judge_statistic("top_singular", "reprune", "rows", 0.2, NULL, "upper"),
    )
    ratios = judge_all([judge_statistic("separation/k=4", "margins", "columns", 0.4, NULL, "upper")])
    run.claim("separation_ratio/k=4", 1.1487, null=1.0931, kind="ratio")
    claim_share(run, "clusters/tighter", ratios, "tighter")
    text = run.said(say_mask("q_proj", judged, ratios))
    assert (
        "structure beyond densities, largest singular value of rows at z = " in text
        and "in 1 of 1 tests" in text
    )
    assert "does also give it" in text
    assert (
        "no tighter than densities make them (k=4: 1.149; same margins give 1.093)" in text
    )  # once 1.143 here


def test_tight_clusters_are_counted(run):
    judged = judged_of(run, judge_statistic("top_singular", "margins", "rows", 9.0, NULL, "upper"))
    tight = judge_all([judge_statistic("separation/k=4", "margins", "columns", 4.0, NULL, "upper")])
    run.claim("separation_ratio/k=4", 4.0, null=0.5, kind="ratio")
    claim_share(run, "clusters/tighter", tight, "tighter")
    assert "tighter than densities make them for 1 of 1 numbers" in run.said(say_mask("q", judged, tight))


def test_only_the_statistic_that_was_chosen_before_has_an_interval(run):
    judged_of(
        run,
        judge_statistic("top_singular", "margins", "rows", 9.0, NULL, "upper"),
        judge_statistic("phi_spread", "margins", "rows", 9.0, NULL, "upper"),
    )
    assert run["top_singular/rows/margins"].low is not None and run["phi_spread/rows/margins"].is_measurement


def test_too_few_draws_for_so_many_tests_are_said(run):
    def tests(n, draws):
        return judge_all(
            [NullTest("top_singular", "margins", "rows", 2.0, 1.0, 0.1, 1 / (draws + 1), draws)]
            + [NullTest("phi_spread", "margins", f"axis{i}", 1.0, 1.0, 0.1, 0.5, draws) for i in range(n - 1)]
        )

    few = tests(100, 99)
    claim_tests(run, few)
    claim_share(run, "tests/found", few, "found")
    said = run.said(claim_resolution(run, few, [name_test(one) for one in few]))
    assert "unless 20 of 100 tests" in said and "z = 10.0 (largest singular value of rows)" in said
    assert "draws=2000" in said
    many = tests(100, 2000)
    assert claim_resolution(run, many, []) == "" and many[0].found and not few[0].found
    assert claim_resolution(run, tests(5, 99), []) == ""


RNG = np.random.default_rng(0)
COINS = RNG.random((48, 64)) < 0.5
# Margins of coin flips with two planted blocks that a checkerboard hides from them.
BLOCKS = RNG.random((48, 64)) < np.where((np.arange(48)[:, None] < 24) ^ (np.arange(64) < 32), 0.25, 0.75)


def test_planted_structure_is_found_and_coin_flips_are_not():
    for axis in ("rows", "columns"):
        found = null_test(BLOCKS, axis=axis, draws=39)
        assert [test.statistic for test in found] == list(DEFAULT)
        assert all(test.p == 1 / 40 and test.z > 4 and test.effect > 0 for test in found)
    assert all(test.p > 0.05 for test in null_test(COINS, axis="rows", draws=39, seed=1))


def test_densities_fool_coin_flips_but_not_margins():
    """Unequal columns: against coin flips everything is significant, against the right null nothing is."""
    dense = RNG.random((48, 64)) < np.linspace(0.05, 0.95, 64)
    against_coins = null_test(dense, "coin_flips", "rows", ["phi_spread", "nearest_hamming"], draws=19)
    assert all(test.p == 1 / 20 for test in against_coins)
    assert all(
        test.p > 0.05
        for test in null_test(dense, "margins", "rows", ["phi_spread", "top_singular"], draws=19)
    )


def test_p_values_of_null_masks_are_uniform():
    p = [
        null_test(RNG.random((12, 20)) < 0.5, axis="rows", statistics=["phi_spread"], draws=9, seed=i)[0].p
        for i in range(30)
    ]
    assert 0.35 < np.mean(p) < 0.75 and np.mean(np.array(p) <= 0.1) < 0.3


def test_one_test_by_hand():
    test = judge_statistic("x", "margins", "rows", 3.0, [1.0, 2.0, 3.0, 4.0], "upper")
    assert (
        test.p == 3 / 5
        and test.z == pytest.approx(0.5 / np.std([1, 2, 3, 4], ddof=1))
        and test.effect == pytest.approx(0.2)
    )
    assert judge_statistic("x", "n", "rows", 1.0, [2.0, 3.0], "lower").p == 1 / 3
    flat = judge_statistic("x", "n", "rows", 5.0, [5.0, 5.0], "upper")
    assert flat.p == 1.0 and flat.z == 0.0


def test_many_tests_are_adjusted_together():
    tests = [
        judge_statistic("x", "n", "rows", value, range(1, 100), "upper") for value in (200.0, 98.0, 50.0)
    ]
    assert adjust_pvalues(tests) == pytest.approx(false_discovery_control([t.p for t in tests]).tolist())
    assert adjust_pvalues([]) == []


def test_wrong_names_are_answered():
    with pytest.raises(UsageError, match="no null 'margin'. Did you mean 'margins'"):
        null_test(COINS, "margin")
    with pytest.raises(UsageError, match="no statistic 'silhouet'. Did you mean 'silhouette'"):
        null_test(COINS, statistics=["silhouet"])
    with pytest.raises(UsageError, match="0 null draws"):
        null_test(COINS, draws=0)


# More draws go where they decide something, and p-values made in stages stay honest.


def made(observed: np.ndarray, stream: np.ndarray, draws: int) -> list[NullTest]:
    return [
        judge_statistic(f"s{i}", "n", "rows", value, row[:draws], "upper")
        for i, (value, row) in enumerate(zip(observed, stream, strict=True))
    ]


def sharpen(
    observed: np.ndarray, stream: np.ndarray, start: int = 19, asked: list | None = None
) -> list[NullTest]:
    def again(wanted: list[int], draws: int) -> list[NullTest]:
        if asked is not None:
            asked.append((tuple(wanted), draws))
        return [made(observed, stream, draws)[i] for i in wanted]

    return sharpen_tests(made(observed, stream, start), again, stream.shape[1])


def test_only_unsettled_tests_are_drawn_again_and_each_keeps_its_stream():
    stream = np.random.default_rng(0).random((4, 999))
    observed = np.array([0.5, 1.5, 0.4, 0.6])
    asked: list = []
    tests = sharpen(observed, stream, asked=asked)
    assert asked == [((1,), draws_needed(1, 4))]
    assert [test.draws for test in tests] == [19, 159, 19, 19]
    assert tests[1].p == 1 / 160 and tests[0] == made(observed, stream, 19)[0]


def test_draws_stop_at_the_most_allowed():
    stream = np.random.default_rng(0).random((2, 50))
    assert [test.draws for test in sharpen(np.array([2.0, 2.0]), stream)] == [39, 39]
    assert [test.draws for test in sharpen(np.array([2.0, 0.0]), stream)] == [50, 19]


def test_draws_grow_with_the_number_of_tests_and_fall_with_those_unsettled():
    assert draws_needed(1, 470) == 18_799
    assert draws_needed(47, 470) == 399
    # what they are for: every unsettled test passes the false discovery rate even with one draw as extreme
    for unsettled, n in [(1, 20), (3, 100), (50, 100)]:
        assert 2 / (draws_needed(unsettled, n) + 1) <= 0.05 * unsettled / n


def test_p_values_in_stages_are_valid_under_the_null():
    """P(p <= a) <= a for every level, over 4,000 single tests whose observation is one more draw; seed 1."""
    rng = np.random.default_rng(1)
    found = np.array([sharpen(rng.random(1), rng.random((1, 399)), start=19)[0].p for _ in range(4000)])
    for level in (0.01, 0.02, 0.05, 0.1, 0.2):
        share = (found <= level).mean()
        assert share <= level + 3 * (level * (1 - level) / len(found)) ** 0.5, level
    assert (found <= 0.05).mean() > 0.03  # and they are not merely conservative


def test_as_extreme_counts_ties():
    test = judge_statistic("s", "n", "rows", 1.0, [0.0, 1.0, 2.0, 3.0], "upper")
    assert test.as_extreme == FEW and test.p == 4 / 5
