"""Windows of a rise, hits against shifted jumps, and courses against the share of training."""

import numpy as np
import pytest

from digsite.track.judge.windows import count_hits, dating_course, rise_window, steepest_step

STEPS = np.arange(0, 1000, 10.0)
LOGISTIC = 1 / (1 + np.exp(-(STEPS - 400) / 50))


def test_the_window_of_a_logistic_is_known() -> None:
    window = rise_window(STEPS, LOGISTIC)
    assert window is not None
    reach = 50 * np.log(9)
    assert (window.low, window.middle, window.high) == pytest.approx((400 - reach, 400, 400 + reach), abs=10)
    assert rise_window(STEPS, 0.1 * LOGISTIC) is None


def test_hits_and_their_null() -> None:
    windows = [rise_window(STEPS, LOGISTIC)] * 10
    rng = np.random.default_rng(0)
    sure = count_hits(windows, [[400.0]] * 10, 1000, rng)
    assert sure.found == 10 and sure.null == pytest.approx(2.2, abs=0.7) and sure.p < 0.01
    none = count_hits(windows, [[]] * 10, 1000, rng)
    assert none.found == 0 and none.p == 1


def test_the_steepest_place_of_a_smooth_curve() -> None:
    assert steepest_step(LOGISTIC, STEPS) == pytest.approx(400, abs=20)
    assert steepest_step(np.ones(100), STEPS) is None
    assert steepest_step(np.full(100, np.nan), STEPS) is None


def test_a_course_is_corrected_for_how_many_were_looked_at() -> None:
    windows = [rise_window(STEPS, LOGISTIC)] * 10
    few, many = (dating_course("l", "m", windows, [400.0] * 10, 1000, tests) for tests in (1, 50))
    assert few.found == 10 and many.p == pytest.approx(50 * few.p)
    assert few.p == pytest.approx((few.chance / 10) ** 10, rel=0.01)
