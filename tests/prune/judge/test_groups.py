"""Means by group: right means, a planted difference is found, relabeled masks show none at the stated rate."""

import numpy as np
import pytest
from scipy.stats import permutation_test

from digsite.prune.judge.groups import MEASURES, average_groups, compare_groups, tell_groups


def make_rows(rng, shift=0.0):
    """Two methods by three projections by two layers; `shift` separates the methods in every measure."""
    return [
        {"method": method, "component": part}
        | {measure: rng.normal() + shift * (method == "wanda") for measure in MEASURES}
        for method in ("wanda", "sparsegpt")
        for part in ("q_proj", "v_proj", "down_proj")
        for _ in range(2)
    ]


def test_means_are_means():
    rows = make_rows(np.random.default_rng(0))
    found = {(one.group, one.measure): one for one in average_groups(rows)}
    for method in ("wanda", "sparsegpt"):
        own = [float(row["separation"]) for row in rows if row["method"] == method]
        assert found[method, "separation"].mean == pytest.approx(np.mean(own))
        assert found[method, "separation"].n == 6
    one = found["wanda", "separation"]
    assert one.low is not None and one.high is not None and one.low < one.mean < one.high


def test_a_planted_difference_is_found_and_named():
    found = compare_groups(make_rows(np.random.default_rng(1), shift=6.0), seed=0)
    methods = [one for one in found if one.by == "method"]
    assert all(one.q < 0.05 and one.highest == "wanda" and one.lowest == "sparsegpt" for one in methods)
    assert all(one.q > 0.05 for one in found if one.by == "component")
    assert any("lowest for 'sparsegpt', highest for 'wanda'" in line for line in tell_groups(found, 0.05))


def test_without_a_difference_few_are_named():
    hits = [
        any(one.q <= 0.05 for one in compare_groups(make_rows(np.random.default_rng(seed)), seed))
        for seed in range(20)
    ]
    assert sum(hits) <= 4, "stated 5 % of reports; 5 or more of 20 happens in 3 of 1,000"


def test_the_p_value_is_that_of_scipy():
    rng = np.random.default_rng(5)
    rows = [
        {"method": "wanda" if i < 6 else "ria", "component": "v_proj"}
        | {measure: rng.normal() + (i < 6) for measure in MEASURES}
        for i in range(12)
    ]
    values = np.array([row["separation"] for row in rows])
    theirs = permutation_test(
        (values[:6], values[6:]),
        lambda a, b: abs(a.mean() - b.mean()),
        n_resamples=100_000,
        alternative="greater",
    )
    (ours,) = [
        one for one in compare_groups(rows, seed=0) if (one.by, one.measure) == ("method", "separation")
    ]
    assert ours.spread == pytest.approx(theirs.statistic)
    assert ours.p == pytest.approx(theirs.pvalue, abs=0.03)


def test_holes_and_single_groups_are_left_out():
    rows = make_rows(np.random.default_rng(2))
    rows[0]["separation"] = float("nan")
    assert all(np.isfinite(one.spread) for one in compare_groups(rows, seed=0))
    assert compare_groups([row | {"method": "given", "component": "x"} for row in rows], seed=0) == []
    assert "not compared" in tell_groups([], 0.05)[0]
