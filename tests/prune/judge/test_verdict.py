import numpy as np

from digsite.prune.judge.densities import densities
from digsite.prune.judge.significance import Test, judge
from digsite.prune.judge.verdict import judge_all, resolution, sentence

SEEN = densities(np.random.default_rng(0).random((20, 30)) < 0.5)
NULL = np.linspace(0, 1, 99)


def test_no_structure_is_an_answer():
    judged = judge_all(
        [
            judge("top_singular", "margins", "rows", 0.5, NULL, "upper"),
            judge("top_singular", "coin_flips", "rows", 9.0, NULL, "upper"),
        ]
    )
    text = sentence("q_proj", SEEN, judged)
    assert text.startswith("q_proj: no structure beyond densities (smallest q = ") and "1 tests" in text


def test_structure_says_which_where_and_whether_weights_matter():
    judged = judge_all(
        [
            judge("top_singular", "margins", "rows", 9.0, NULL, "upper"),
            judge("top_singular", "reprune", "rows", 0.2, NULL, "upper"),
        ]
    )
    ratios = judge_all([judge("separation/k=4", "margins", "columns", 0.4, NULL, "upper")])
    text = sentence("q_proj", SEEN, judged, ratios)
    assert "structure beyond densities, top singular of rows at z = " in text
    assert (
        "does also give it" in text and "Clusters are no tighter than densities make them (k=4: 0.400" in text
    )
    tight = judge_all([judge("separation/k=4", "margins", "columns", 4.0, NULL, "upper")])
    assert "Clusters are tighter than densities make them for 1 of 1 k" in sentence("q", SEEN, judged, tight)


def test_too_few_draws_for_so_many_tests_are_said():
    def tests(n, draws):
        return judge_all(
            [Test("top_singular", "margins", "rows", 2.0, 1.0, 0.1, 1 / (draws + 1), draws)]
            + [Test("phi_spread", "margins", "rows", 1.0, 1.0, 0.1, 0.5, draws)] * (n - 1)
        )

    said = resolution(tests(100, 99))
    assert (
        "unless 20 of 100 tests" in said
        and "z is 10.0 (top singular of rows)" in said
        and "draws=2000" in said
    )
    assert resolution(tests(100, 2000)) == "" and tests(100, 2000)[0].found and not tests(100, 99)[0].found
    assert resolution(tests(5, 99)) == ""
