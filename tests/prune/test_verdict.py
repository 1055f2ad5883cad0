import numpy as np

from digsite.prune.densities import densities
from digsite.prune.significance import judge
from digsite.prune.verdict import judge_all, sentence

SEEN = densities(np.random.default_rng(0).random((20, 30)) < 0.5)
NULL = np.linspace(0, 1, 99)


def test_no_structure_is_an_answer():
    judged = judge_all([judge("top_singular", "margins", "rows", 0.5, NULL, "upper"),
                        judge("top_singular", "coin_flips", "rows", 9.0, NULL, "upper")])  # fmt: skip
    text = sentence("q_proj", SEEN, judged)
    assert text.startswith("q_proj: no structure beyond densities (smallest q = ") and "1 tests" in text


def test_structure_says_which_where_and_whether_weights_matter():
    judged = judge_all([judge("top_singular", "margins", "rows", 9.0, NULL, "upper"),
                        judge("top_singular", "reprune", "rows", 0.2, NULL, "upper")])  # fmt: skip
    ratios = judge_all([judge("separation/k=4", "margins", "columns", 0.4, NULL, "upper")])
    text = sentence("q_proj", SEEN, judged, ratios)
    assert "structure beyond densities, top singular of rows at z = " in text
    assert (
        "does also give it" in text and "Clusters are no tighter than densities make them (k=4: 0.400" in text
    )
    tight = judge_all([judge("separation/k=4", "margins", "columns", 4.0, NULL, "upper")])
    assert "Clusters are tighter than densities make them for 1 of 1 k" in sentence("q", SEEN, judged, tight)
