"""Changes by likelihood against plain least squares, scipy's Student distribution, and series with known changes."""

import numpy as np
import pytest
from scipy.stats import t as student

from digsite.track.core import likelihood, whittle
from digsite.track.core.jumptest import likely_changes, likely_null
from digsite.track.judge.planted_jumps import draw_process, plant_jumps


def test_filters_make_each_noise_white() -> None:
    taps = likelihood.noise_taps(16)
    assert (
        np.abs(taps - np.r_[1.0, -0.8, np.zeros(15)]).sum(1).min() < 1e-9
    )  # an autoregression's own filter is there
    walk = np.cumsum(np.random.default_rng(0).standard_normal(4000))
    errors = np.array([np.convolve(walk, tap, "valid").std() for tap in taps])
    assert errors.min() == pytest.approx(1, abs=0.05)


def test_the_best_change_is_that_of_least_squares() -> None:
    values = np.random.default_rng(1).standard_normal(90)
    values[50:] += 2
    plan = likelihood.plan_filters(90)
    scan = likelihood.scan_changes(values, plan)
    white = int(np.abs(plan.taps[:, 1:]).sum(1).argmin())
    seen = values[-plan.response.shape[-1] :]
    left = {}
    for place in plan.places:
        for width in likelihood.WIDTHS:
            column = likelihood.rise_profile(np.arange(90) - place + 0.5, width)[-len(seen) :]
            columns = np.c_[np.ones(len(seen)), column]
            left[place, width] = float(np.linalg.lstsq(columns, seen, rcond=None)[1][0])
    best = min(left, key=lambda key: left[key])
    width, at = divmod(int(scan.chosen[0, white]), len(plan.places))
    assert (plan.places[at], likelihood.WIDTHS[width]) == best
    assert scan.left[1, white] == pytest.approx(left[best])


def test_scores_are_those_of_the_student_distribution() -> None:
    errors = student.rvs(3, size=400, random_state=2)
    scores = whittle.student_scores(errors, np.ones(400))
    _, scale = student.fit(errors, f0=3, floc=0)[1:]
    three = 1 + whittle.TAILS.index(3.0)
    assert scores[three] == pytest.approx(2 * student.logpdf(errors, 3, 0, scale).sum(), abs=0.05)
    assert scores.argmax() != 0


def test_two_changes_that_hide_each_other_are_seen_together() -> None:
    rows, places = plant_jumps("AR .8", 10, 300, 12, np.random.default_rng(3))
    hits = 0
    for row, truth in zip(rows, places, strict=True):
        changes = likely_changes(row, np.zeros(300), 0.0375, 0.0)
        hits += sum(any(abs(c.change.index - place) <= 5 for c in changes) for place in truth)
    assert hits >= 14  # of 24, in one round; the search for one at a time has about half in all of its rounds


def test_a_large_shock_of_a_walk_is_no_jump() -> None:
    walk = np.cumsum(np.random.default_rng(4).standard_normal(300))
    walk[150:] += 12
    assert likely_changes(walk, np.zeros(300), 0.0375, 0.0) == []


def test_errors_of_a_measured_walk_are_those_of_its_steady_filter() -> None:
    for share in (0.5, 2.0, 8.0):
        before = (
            1 + np.sqrt(1 + 4 * share)
        ) / 2  # variance of the level before a sample, by Riccati's equation
        assert likelihood.walk_error(share, 16) == pytest.approx(before + share, rel=0.02)


def test_a_jump_gains_over_a_walk_with_heavy_steps_and_such_a_walk_does_not() -> None:
    rng = np.random.default_rng(6)
    scale = np.ones(299)
    jump = 5.0 * (np.arange(300) >= 150)
    flat = draw_process(np.exp(-1 / 20), 1, 300, rng)[0] + 0.3 * rng.standard_normal(300)
    steps = rng.standard_normal(300)
    steps[[60, 150, 220, 260]] = (5, -12, 6, -4)
    heavy = np.cumsum(steps) + 1.5 * rng.standard_normal(300)
    sure = likelihood.gain_over_shocks(flat + jump, scale, flat, False)
    unsure = likelihood.gain_over_shocks(heavy, scale, heavy + 12 * (np.arange(300) >= 150), False)
    assert sure > 24 > 20 > unsure


def test_long_series_are_weighed_in_means_and_dated_in_samples() -> None:
    rows, places = plant_jumps("process + noise", 10, 1501, 6, np.random.default_rng(7))
    hits = 0
    for row, truth in zip(rows, places, strict=True):
        changes = likely_changes(row, np.zeros(1501), 0.0375, 0.0)
        hits += sum(any(abs(c.change.index - place) <= 5 for c in changes) for place in truth)
    assert hits >= 9  # of 12


def test_probabilities_fall_with_the_gain_at_every_length() -> None:
    for samples in (40, 100, 300, 5000):
        null = likely_null(samples)
        p = [null.tail_probability(beyond) for beyond in (-30.0, -3.0, 0.0, 4.0, 10.0, 60.0)]
        assert p == sorted(p, reverse=True) and p[0] == 1 and p[-1] < 1e-4
        assert 0.03 < p[2] < 0.09
        assert null.single < null.double


def test_little_noise_is_not_taken_for_changes() -> None:
    rows = draw_process(0.9, 30, 120, np.random.default_rng(5))
    assert sum(bool(likely_changes(row, np.zeros(120), 0.0375, 0.0)) for row in rows) <= 5
