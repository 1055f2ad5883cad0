import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from digsite.read.core import conformal


@given(st.integers(20, 400))
def test_margin_is_the_exact_order_statistic(n):
    residuals = np.random.default_rng(n).normal(size=n)
    found = conformal.margin(residuals)
    assert found == np.sort(np.abs(residuals))[math.ceil((n + 1) * 0.9) - 1]


def test_too_few_networks_give_an_infinite_interval():
    assert conformal.margin(np.arange(5.0)) == math.inf


def test_coverage_on_fresh_draws():
    rng = np.random.default_rng(0)
    hits = [
        conformal.covered(rng.normal(size=300), np.zeros(300), conformal.margin(rng.normal(size=300)))
        for _ in range(50)
    ]
    assert abs(np.mean(hits) - 0.9) < 0.01


def test_class_sets_cover_and_are_never_empty():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), 2000)
    y = np.array([rng.choice(4, p=row) for row in p])
    at = conformal.threshold(p[np.arange(1000), y[:1000]])
    sets = conformal.class_sets(p[1000:], at)
    assert sets.any(1).all()
    assert abs(sets[np.arange(1000), y[1000:]].mean() - 0.9) < 0.03
