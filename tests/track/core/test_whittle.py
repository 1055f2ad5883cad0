"""The noise model against closed forms: covariances of increments, and parts told apart."""

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from digsite.track.core import whittle
from digsite.track.judge.planted_jumps import draw_process


def test_covariances_of_known_models() -> None:
    white = whittle.NoiseModel(0.0, 0.0, 0.0, 4.0).increment_covariance(4)
    assert white == pytest.approx([8, -4, 0, 0], abs=1e-6)
    walk = whittle.NoiseModel(1.0, 0.0, 3.0, 0.0).increment_covariance(3)
    assert walk == pytest.approx([3, 0, 0], abs=1e-6)
    root = 0.8
    level = root ** np.arange(6) / (1 - root**2)
    exact = 2 * level[:4] - level[1:5] - np.abs(np.r_[level[1], level[:3]])
    assert whittle.NoiseModel(root, 0.0, 1.0, 0.0).increment_covariance(4) == pytest.approx(exact, abs=1e-3)


def test_measurement_noise_is_told_from_the_process() -> None:
    rng = np.random.default_rng(0)
    rows = draw_process(1, 20, 800, rng) + 2.0 * rng.standard_normal((20, 800))
    models = [whittle.fit_noise(np.diff(row)) for row in rows]
    assert np.median([m.measurement for m in models]) == pytest.approx(4, rel=0.25)
    assert np.median([m.process for m in models]) == pytest.approx(1, rel=0.5)
    alone = [whittle.fit_noise(np.diff(row)) for row in draw_process(1, 20, 800, rng)]
    assert np.mean([m.measurement == 0 for m in alone]) > 0.6


def test_innovations_are_white_and_tails_are_seen() -> None:
    rng = np.random.default_rng(1)
    gaussian = draw_process(0.8, 12, 600, rng)
    errors = [whittle.prediction_errors(np.diff(row), whittle.fit_noise(np.diff(row))) for row in gaussian]
    assert abs(np.mean([np.corrcoef(e[1:], e[:-1])[0, 1] for e in errors])) < 0.08
    assert np.mean([np.isinf(whittle.tail_freedom(e)) for e in errors]) > 0.7
    heavy = [whittle.tail_freedom(rng.standard_t(3, 600)) for _ in range(12)]
    assert 2 <= np.median(heavy) <= 5


def test_skewed_shocks_are_heavy_on_one_side() -> None:
    rng = np.random.default_rng(2)
    assert np.median([whittle.tail_freedom(rng.gamma(1.0, size=600)) for _ in range(12)]) < 5


def test_a_gain_is_worth_less_under_heavy_tails() -> None:
    assert whittle.gaussian_gain(30.0, np.inf) == 30.0
    gains = [whittle.gaussian_gain(30.0, f) for f in (2.5, 4.0, 10.0, 1e6)]
    assert gains == sorted(gains) and gains[0] < 8 and gains[-1] == pytest.approx(30, rel=1e-3)
    for freedom in (3.0, 8.0):  # the same chance, by the two laws
        size = np.sqrt(whittle.gaussian_gain(20.0, freedom))
        scale = student.ppf(0.75, freedom) / norm.ppf(0.75)
        assert norm.sf(size) == pytest.approx(student.sf(np.sqrt(20.0) * scale, freedom), rel=1e-6)
