"""Intervals and permutation p-values hold their level, and answers may be withheld."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from digsite.track.judge.questions import contrast, effect

RNG = np.random.default_rng(0)


def test_interval_is_students() -> None:
    x = np.random.default_rng(1).normal(1, 1, 9)
    found = effect(x.tolist(), RNG)
    truth = ttest_1samp(x, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((truth.low, truth.high))


def test_sign_flips_are_exact_for_few_units() -> None:
    assert effect([1.0, 2.0, 3.0], RNG).p == pytest.approx(2 / 8)
    assert effect([1.0] * 8, RNG).p == pytest.approx(2 / 256)


def test_the_level_is_kept() -> None:
    rng = np.random.default_rng(2)
    p = [
        contrast(rng.normal(size=6).tolist(), rng.normal(size=6).tolist(), rng, draws=200).p
        for _ in range(200)
    ]
    assert np.mean(np.array(p) < 0.05) < 0.1


def test_answers() -> None:
    assert effect([1.0, 1.1, 0.9, 1.0, 1.05, 0.95], RNG).answer(0.1) == "yes"
    assert effect([0.01, -0.01, 0.0, 0.01, -0.01], RNG).answer(0.1) == "no"
    assert effect([3.0, -2.0, 1.0], RNG).answer(0.1) == "not decidable with this power"
    assert effect([], RNG).answer(0.1) == "not decidable with this power"
    assert contrast([1.0], [2.0, 3.0], RNG).answer(0.1) == "not decidable with this power"
