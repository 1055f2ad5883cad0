"""Transitions over many samples are dated; what bends without an onset is none."""

from dataclasses import replace

import numpy as np
import pytest

from digsite.track import detect_jumps
from digsite.track.core import shapes, smooth
from digsite.track.core.detect import judge_jumps

T = np.arange(200)


def logistic(middle: float, width: float, n: int = 200) -> np.ndarray:
    return 1 / (1 + np.exp(-(np.arange(n) - middle) * 2 * np.log(9) / width))


def test_a_transition_is_dated_with_onset_and_end() -> None:
    values = 10 * logistic(110, 40) + 0.2 * np.random.default_rng(0).standard_normal(200)
    (jump,) = detect_jumps(values, T * 5.0, kinds=("transition",))
    assert jump.low <= 550 <= jump.high and jump.high - jump.low < 60
    assert jump.onset == pytest.approx(450, abs=40) and jump.end == pytest.approx(650, abs=40)
    assert jump.direction == "up" and jump.change == pytest.approx(10, rel=0.2)
    assert jump.p is not None and jump.p < 0.01
    assert not detect_jumps(values, T * 5.0)


@pytest.mark.parametrize("kind", ["decay", "log growth", "power law", "line", "straight noise"])
def test_a_bend_without_an_onset_is_none(kind: str) -> None:
    rng = np.random.default_rng(4)
    course = {
        "decay": 10 * np.exp(-T / 40),
        "log growth": 4 * np.log1p(T),
        "power law": 20 / np.sqrt(1 + T),
        "line": 0.1 * T,
        "straight noise": 0.0 * T,
    }[kind]
    found = [smooth.find_smooth_changes(course + rng.standard_normal(200), 0.05, 3)[0] for _ in range(10)]
    assert sum(map(bool, found)) <= 3  # ten series at .05 give four or more with probability .001


def test_an_abrupt_jump_is_no_transition() -> None:
    values = 8.0 * (T >= 120) + np.random.default_rng(1).standard_normal(200)
    kinds = [jump.kind for jump in judge_jumps(values).jumps]
    assert "step" in kinds and "transition" not in kinds


def test_excess_is_over_the_larger_flank() -> None:
    increments = np.r_[np.zeros(20), np.ones(10), np.full(20, 0.25)]
    excess, contrast = smooth.excess_speed(increments[None], 10)
    places = np.arange(excess.shape[2]) + smooth.flank_length(10)
    assert excess[0, 0].max() <= 1 and places[int(excess[0, 0].argmax())] in range(18, 23)
    assert contrast.shape == (1, excess.shape[2]) and (excess[1] <= 0).all()


@pytest.mark.parametrize(("n", "period"), [(60, 50), (60, 21), (200, 90), (200, 33)])
@pytest.mark.parametrize("wave", ["sine", "sawtooth"])
def test_what_swings_has_no_transition(n: int, period: int, wave: str) -> None:
    if wave == "sawtooth" and period > n / 2:
        pytest.skip("one drop and no other")
    for phase in np.arange(4) / 4:
        turns = np.arange(n) / period + phase
        course = (
            np.sin(2 * np.pi * turns) if wave == "sine" else np.convolve(turns % 1, np.ones(6) / 6, "same")
        )
        values = course + 0.03 * np.random.default_rng(int(4 * phase)).standard_normal(n)
        assert not judge_jumps(values, kinds=("transition",)).jumps


def test_why_a_rise_is_no_transition() -> None:
    rise = lambda middle, width=40: logistic(middle, width)  # noqa: E731
    assert shapes.why_no_transition(rise(100), (80, 120), 1.0) == ""
    assert shapes.why_no_transition(-3 * rise(100), (80, 120), -1.0) == ""
    assert shapes.why_no_transition(np.exp(-T / 10) + rise(140), (120, 160), 1.0) == ""
    assert "too little" in shapes.why_no_transition(rise(20), (0, 40), 1.0)
    assert "goes back" in shapes.why_no_transition(rise(100) - rise(140), (80, 120), 1.0)
    assert "take turns" in shapes.why_no_transition(np.sin(2 * np.pi * T / 80), (88, 112), -1.0)
    assert [
        shapes.count_swings(np.array(x, dtype=float), 1.0) for x in ([0, 0.9], [0, 2, 1.5, 3], [0, 1, 0, 1])
    ] == [0, 1, 3]


def test_a_middle_that_could_be_anywhere_is_no_date() -> None:
    known = smooth.LogisticFit((80, 80, 80), (90, 100, 110), (120, 120, 120), 0.0, 1.0, 0.1)
    assert known.is_dated and not replace(known, middle=(60, 100, 110)).is_dated


def test_a_series_that_swings_says_so() -> None:
    values = np.sin(2 * np.pi * np.arange(60) / 50) + 0.05 * np.random.default_rng(0).standard_normal(60)
    told = judge_jumps(values, kinds=("transition",))
    assert told.jumps == [] and told.undated


def test_answers_say_why_there_is_none() -> None:
    best = np.minimum.accumulate(np.random.default_rng(0).standard_normal(200) + 4 * np.exp(-T / 60))
    told = judge_jumps(best)
    assert told.jumps == [] and "repeat the one before" in told.because
    assert "levels" in judge_jumps(np.random.default_rng(0).integers(0, 3, 100).astype(float)).because
    assert judge_jumps(np.random.default_rng(0).standard_normal(100)).because == ""
