import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from digsite.base.intervals import student, t_quantile, wilson


@pytest.mark.parametrize("degrees", [*range(1, 40), 100, 10_000])
def test_points_of_students_distribution(degrees):
    assert t_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), abs=2e-5)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30))
def test_the_interval_is_students(values):
    mean, low, high = student(values)
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    assert (mean, low, high) == pytest.approx(
        (np.mean(values), np.mean(values) - half, np.mean(values) + half), abs=1e-3
    )


def test_it_is_cut_to_what_can_be_and_one_value_has_none():
    assert student([0.9, 1.0], least=0, most=1)[1:] == (pytest.approx(0.3147, abs=1e-4), 1)
    assert student([3.0]) == (3.0, None, None)
    assert student([2.0, 2.0]) == (2.0, 2.0, 2.0)


@given(st.integers(1, 200), st.floats(0, 1))
def test_the_interval_of_a_share_is_wilsons(n, share):
    hits = math.floor(share * n)
    expected = stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-9)
