"""Intervals and permutation p-values hold their level, and answers may be withheld."""

import numpy as np
import pytest

from digsite.track.judge.hypotheses import contrast_groups, correct_by_holm, seed_effect

RNG = np.random.default_rng(0)


def test_the_interval_is_between_two_of_the_sorted_units() -> None:
    x = np.random.default_rng(1).normal(1, 1, 9)
    found = seed_effect(x.tolist(), RNG)
    ordered = sorted(x)
    assert (found.low, found.value, found.high) == pytest.approx((ordered[1], ordered[4], ordered[7]))


def test_sign_flips_are_exact_for_few_units() -> None:
    assert seed_effect([1.0, 2.0, 3.0], RNG).p == pytest.approx(2 / 8)
    assert seed_effect([1.0] * 8, RNG).p == pytest.approx(2 / 256)


def test_the_level_is_kept() -> None:
    rng = np.random.default_rng(2)
    p = [
        contrast_groups(rng.normal(size=6).tolist(), rng.normal(size=6).tolist(), rng, draws=200).p
        for _ in range(200)
    ]
    assert np.mean(np.array(p) < 0.05) < 0.1


def test_answers() -> None:
    assert seed_effect([1.0, 1.1, 0.9, 1.0, 1.05, 0.95], RNG).answer(0.1) == "yes"
    assert seed_effect([0.01, -0.01, 0.0, 0.01, -0.01], RNG).answer(0.1) == "no"
    assert seed_effect([3.0, -2.0, 1.0], RNG).answer(0.1) == "not decidable with this power"
    assert seed_effect([], RNG).answer(0.1) == "not decidable with this power"
    assert contrast_groups([1.0], [2.0, 3.0], RNG).answer(0.1) == "not decidable with this power"


def test_holm_is_statsmodels_step_down() -> None:
    """Worked by hand: p times the number of tests that are left, never falling."""
    assert correct_by_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert correct_by_holm([]) == [] and correct_by_holm([0.9, 0.8]) == [1.0, 1.0]
