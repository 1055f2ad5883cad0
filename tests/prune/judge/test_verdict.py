"""Sentences about masks: written from the claims of the tests, so that sentence and table cannot disagree."""

import numpy as np
import pytest

from digsite.prune.judge.significance import Test, judge
from digsite.prune.judge.verdict import (
    claim_resolution,
    claim_share,
    claim_tests,
    judge_all,
    name_test,
    sentence,
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
        judge("top_singular", "margins", "rows", 0.5, NULL, "upper"),
        judge("top_singular", "coin_flips", "rows", 9.0, NULL, "upper"),
    )
    text = run.said(sentence("q_proj", judged))
    assert (
        text.startswith("'q_proj': no structure beyond densities (smallest corrected p = ")
        and "1 tests" in text
    )
    assert "30.0 % of the mask's variance" in text


def test_structure_says_which_where_and_whether_weights_matter(run):
    judged = judged_of(
        run,
        judge("top_singular", "margins", "rows", 9.0, NULL, "upper"),
        judge("top_singular", "reprune", "rows", 0.2, NULL, "upper"),
    )
    ratios = judge_all([judge("separation/k=4", "margins", "columns", 0.4, NULL, "upper")])
    run.claim("separation_ratio/k=4", 1.1487, null=1.0931, kind="ratio")
    claim_share(run, "clusters/tighter", ratios, "tighter")
    text = run.said(sentence("q_proj", judged, ratios))
    assert (
        "structure beyond densities, largest singular value of rows at z = " in text
        and "in 1 of 1 tests" in text
    )
    assert "does also give it" in text
    assert (
        "no tighter than densities make them (k=4: 1.149; same margins give 1.093)" in text
    )  # once 1.143 here


def test_tight_clusters_are_counted(run):
    judged = judged_of(run, judge("top_singular", "margins", "rows", 9.0, NULL, "upper"))
    tight = judge_all([judge("separation/k=4", "margins", "columns", 4.0, NULL, "upper")])
    run.claim("separation_ratio/k=4", 4.0, null=0.5, kind="ratio")
    claim_share(run, "clusters/tighter", tight, "tighter")
    assert "tighter than densities make them for 1 of 1 numbers" in run.said(sentence("q", judged, tight))


def test_only_the_statistic_that_was_chosen_before_has_an_interval(run):
    judged_of(
        run,
        judge("top_singular", "margins", "rows", 9.0, NULL, "upper"),
        judge("phi_spread", "margins", "rows", 9.0, NULL, "upper"),
    )
    assert run["top_singular/rows/margins"].low is not None and run["phi_spread/rows/margins"].is_measurement


def test_too_few_draws_for_so_many_tests_are_said(run):
    def tests(n, draws):
        return judge_all(
            [Test("top_singular", "margins", "rows", 2.0, 1.0, 0.1, 1 / (draws + 1), draws)]
            + [Test("phi_spread", "margins", f"axis{i}", 1.0, 1.0, 0.1, 0.5, draws) for i in range(n - 1)]
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
