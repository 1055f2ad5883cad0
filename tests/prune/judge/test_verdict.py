"""What the tests of a mask say in words; its numbers are claims of the run."""

import numpy as np

from digsite.prune.judge import verdict
from digsite.prune.judge.significance import Test, judge
from digsite.prune.judge.verdict import claim_resolution, claim_share, claim_tests, judge_all, sentence
from digsite.record.results import Claim, make_claim
from digsite.record.verdict import fill_verdict

NULL = np.linspace(0, 1, 99)


class Noted:
    """What a verdict needs of a run: somewhere to put its claims."""

    def __init__(self) -> None:
        self.claims: dict[str, Claim] = {}

    def claim(self, name, value=None, **about):
        self.claims[name] = make_claim(
            name, value, **{k: v for k, v in about.items() if k not in ("interval", "rivals")}
        )
        return self.claims[name]

    def claim_share(self, name, hits, n, **about):
        return self.claim(name, hits / n, low=0.0, high=1.0, n=n, kind="share", **about)


def said(judged, separations=()):
    """The sentence as the run would print it."""
    run = Noted()
    run.claim("density/margins_share", 0.1, kind="share", title="density")
    claim_tests(run, [*judged, *separations])
    claim_share(run, "tests/found", judged, "tests that found something")
    return fill_verdict(sentence("q_proj", judged, separations), tuple(run.claims.values()))[0]


def test_no_structure_is_an_answer():
    judged = judge_all(
        [
            judge("top_singular", "margins", "rows", 0.5, NULL, "upper"),
            judge("top_singular", "coin_flips", "rows", 9.0, NULL, "upper"),
        ]
    )
    assert said(judged).startswith("'q_proj': no structure beyond densities (smallest corrected p = ")


def test_structure_says_which_and_where():
    judged = judge_all(
        [
            judge("top_singular", "margins", "rows", 9.0, NULL, "upper"),
            judge("top_singular", "reprune", "rows", 0.2, NULL, "upper"),
        ]
    )
    text = said(judged)
    assert text.startswith("'q_proj': structure beyond densities, ") and "of rows at z = " in text
    assert "does also give it" in text


def test_too_few_draws_for_so_many_tests_are_said():
    def tests(n, draws):
        return judge_all(
            [Test("top_singular", "margins", "rows", 2.0, 1.0, 0.1, 1 / (draws + 1), draws)]
            + [Test("phi_spread", "margins", "rows", 1.0, 1.0, 0.1, 0.5, draws)] * (n - 1)
        )

    few, many = tests(100, 99), tests(100, 2000)
    ids = [verdict.test_id(few[0]), *(f"other/{i}" for i in range(99))]
    text = claim_resolution(Noted(), few, ids)
    assert "nothing can be found unless" in text and "draws=2000" in text
    assert claim_resolution(Noted(), many, ids) == "" and many[0].found and not few[0].found
    assert claim_resolution(Noted(), tests(5, 99), ids) == ""
