"""Intervals against SciPy, and their coverage where our quantities live."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from digsite.base.intervals import (
    BY_KIND,
    count_of_repeats,
    exact_share,
    mean_of_bounded,
    median_of_any,
    seed_interval,
    student_interval,
    t_quantile,
)


@pytest.mark.parametrize("degrees", [*range(1, 40), 100, 10_000])
def test_points_of_students_distribution(degrees):
    assert t_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), abs=2e-5)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30))
def test_the_interval_is_students(values):
    mean, low, high = student_interval(values)
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    assert (mean, low, high) == pytest.approx(
        (np.mean(values), np.mean(values) - half, np.mean(values) + half), abs=1e-3
    )


@given(st.integers(1, 200), st.floats(0, 1))
def test_the_interval_of_a_share_is_exact(n, share):
    hits = math.floor(share * n)
    expected = stats.binomtest(hits, n).proportion_ci(method="exact")
    assert exact_share(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (3, 5), (5, 5), (7, 20), (20, 20)])
def test_a_bounded_mean_of_hits_and_misses_is_the_exact_share(hits, n):
    found = mean_of_bounded([1.0] * hits + [0.0] * (n - hits), 0, 1)
    assert (found.low, found.high) == pytest.approx(exact_share(hits, n), abs=1e-5)


def test_a_bounded_mean_is_a_quantile_of_randomly_weighted_values():
    values = [0.99, 0.98, 0.995, 0.97, 0.2]
    spacings = np.random.default_rng(0).dirichlet(np.ones(6), 200_000)
    low = np.quantile(spacings @ np.sort([0.0, *values]), 0.025)
    high = np.quantile(spacings @ np.sort([1.0, *values]), 0.975)
    found = mean_of_bounded(values, 0, 1)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.004)


@given(st.lists(st.floats(-1e3, 1e3, allow_subnormal=False), min_size=2, max_size=8), st.floats(0.1, 100))
def test_a_bounded_mean_moves_with_its_unit(values, scale):
    one = mean_of_bounded(values, -1e3, 1e3)
    other = mean_of_bounded([scale * value for value in values], -1e3 * scale, 1e3 * scale)
    assert (other.low, other.high) == pytest.approx((scale * one.low, scale * one.high), abs=1e-2 * scale)


@pytest.mark.parametrize(("n", "depth"), [(5, 1), (8, 1), (9, 2), (20, 6)])
def test_the_median_lies_between_two_sorted_values(n, depth):
    found = median_of_any(list(range(n)), -math.inf, math.inf)
    assert (found.low, found.high) == (depth - 1, n - depth)
    assert 1 - 2 * stats.binom.cdf(depth - 1, n, 0.5) >= 0.93 > 1 - 2 * stats.binom.cdf(depth, n, 0.5)


@pytest.mark.parametrize("kind", sorted(BY_KIND))
def test_seeds_that_agree_never_make_an_interval_without_width(kind):
    for n in (2, 3, 5, 20):
        found = seed_interval([1.0] * n, kind, least=0.0, most=1.0)
        assert found.low is None or found.low < (found.high or 0)
        assert found.low is not None or found.points == (1.0,) * n
    assert count_of_repeats([0.0] * 5, 0, math.inf).high == 1


@pytest.mark.parametrize("kind", ["median", "difference", "count", "ratio"])
def test_two_or_three_seeds_are_shown_as_points(kind):
    for n in (2, 3, 4):
        found = seed_interval([float(i) for i in range(n)], kind)
        assert (found.low, found.high) == (None, None) and len(found.points) == n
    assert seed_interval([1.0, math.nan], kind).n == 1


def _mixed(rng):
    """Nine good seeds in ten, and one that failed."""
    return rng.uniform(0.05, 0.3) if rng.random() < 0.1 else rng.uniform(0.95, 1.0)


# name -> (draw, what the interval is of, kind, bounds)
QUANTITIES = {
    "binary, rare": (lambda r: float(r.random() < 0.03), 0.03, "share", (0, 1)),
    "binary, common": (lambda r: float(r.random() < 0.9), 0.9, "share", (0, 1)),
    "skewed share": (lambda r: r.betavariate(20, 0.5), 20 / 20.5, "mean", (0, 1)),
    "bounded": (lambda r: r.betavariate(2, 3), 0.4, "mean", (0, 1)),
    "mixed mean": (_mixed, 0.9 * 0.975 + 0.1 * 0.175, "mean", (0, 1)),
    "mixed median": (_mixed, 0.95 + 0.05 * (0.5 - 0.1) / 0.9, "median", (0, 1)),
    "skewed median": (lambda r: r.lognormvariate(0, 1), 1.0, "median", (-math.inf, math.inf)),
    "normal": (lambda r: r.gauss(0, 1), 0.0, "difference", (-math.inf, math.inf)),
    "count": (lambda r: float(sum(r.random() < 0.1 for _ in range(30))), 3.0, "count", (0, math.inf)),
    "count, mostly none": (lambda r: float(r.random() < 0.2) * r.randint(1, 9), 0.0, "count", (0, math.inf)),
}


@pytest.mark.parametrize("n", [5, 20])
@pytest.mark.parametrize("name", sorted(QUANTITIES))
def test_coverage_is_what_it_says(name, n):
    """Student's interval covers .41 of "mixed mean" at n = 5."""
    draw, truth, kind, (least, most) = QUANTITIES[name]
    rng, repeats = random.Random(7), 700 if kind != "mean" else 300 if n == 5 else 100
    covered = 0
    for _ in range(repeats):
        found = seed_interval([draw(rng) for _ in range(n)], kind, least=least, most=most)
        assert found.low is not None and found.high is not None and found.low < found.high
        covered += found.low - 1e-9 <= truth <= found.high + 1e-9
    error = math.sqrt(0.93 * 0.07 / repeats)
    assert covered / repeats >= 0.93 - 2 * error
