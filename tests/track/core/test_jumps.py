"""Sizes with intervals, times in training steps, and q-values over layers."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from digsite.track.core import jumps
from digsite.track.core.jumps import Change, Jump, measure_change, pool_q_values


def test_size_and_interval_of_a_known_step() -> None:
    inside = 0
    for seed in range(60):
        values = 10 + 2 * (np.arange(200) >= 100) + 0.5 * np.random.default_rng(seed).standard_normal(200)
        jump = measure_change(Change(100, 100, 100), values, np.arange(200) * 25.0)
        inside += jump.change_low <= 2 <= jump.change_high
        assert jump.step == 2500
        assert jump.direction == "up"
    assert inside >= 50  # 95 % intervals
    assert jump.relative_change == pytest.approx(0.2, abs=0.1)
    assert jump.phase == pytest.approx(100 / 199)


def test_ramps_keep_their_width_in_steps() -> None:
    u = np.arange(300) - 150 + 0.5
    values = 5 * np.clip(u / 10 + 0.5, 0, 1) + 0.01 * np.random.default_rng(0).standard_normal(300)
    jump = measure_change(Change(150, 149, 151, width=10, kind="ramp"), values, np.arange(300) * 4.0)
    assert jump.width == 40
    assert jump.change == pytest.approx(5, rel=0.05)
    assert jump.speed == pytest.approx(5 / 40, rel=0.05)


def test_q_values_are_benjamini_hochberg_over_all_series() -> None:
    where = {"step": 1.0, "low": 1.0, "high": 1.0, "width": 1.0, "speed": 1.0, "phase": 0.5, "index": 1}
    size = {"before": 1.0, "after": 2.0, "change": 1.0, "change_low": 0.0, "change_high": 2.0}
    rest = {**where, **size, "relative_change": 1.0, "kind": "step"}
    jumps = [Jump(**rest, p=p, q=p) for p in (0.001, 0.02, 0.04)]
    found = [j.q for j in pool_q_values(jumps, 10)]
    assert found == pytest.approx(false_discovery_control(np.r_[0.001, 0.02, 0.04, np.ones(7)])[:3])
    assert pool_q_values([Jump(**rest, p=None, q=None)], 3)[0].q is None


def test_a_staircase_has_neighbors_that_do_not_vary() -> None:
    """Rows of equal values are common in whole-number measures, and their correlation is not defined."""
    assert jumps._neighbors_agree(np.array([1.0, 0.0, 0.0, 0.0, 0.0])) == 0
    wave = np.sin(np.arange(60) / 9)
    truth = np.corrcoef(wave[1:], wave[:-1])[0, 1]
    assert jumps._neighbors_agree(wave) == pytest.approx(min(truth, 0.95))
    assert jumps._neighbors_agree((-1.0) ** np.arange(60)) == 0  # never below zero
