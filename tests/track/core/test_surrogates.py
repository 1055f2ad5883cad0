"""Surrogates keep the spectrum, and on series of that kind their probabilities are even."""

import numpy as np
import pytest

from digsite.track.core import surrogates
from digsite.track.core.jumptest import JumpSearch
from digsite.track.judge.planted_jumps import draw_process, draw_smooth


def test_random_phases_keep_the_power_of_every_frequency() -> None:
    increments = np.random.default_rng(0).standard_normal(150)
    amplitude = np.abs(np.fft.rfft(increments))
    rows = np.fft.irfft(amplitude * surrogates.random_phases(150, 20), 150, axis=1)
    kept = np.abs(np.fft.rfft(rows, axis=1))
    assert kept[:, 1:-1] == pytest.approx(np.repeat(amplitude[None, 1:-1], 20, 0), rel=1e-4)


@pytest.mark.parametrize("kind", ["white", "walk + noise", "smooth"])
def test_probabilities_are_even_without_jumps(kind: str) -> None:
    rng = np.random.default_rng(3)
    rows = {
        "white": lambda: rng.standard_normal((60, 100)),
        "walk + noise": lambda: draw_process(1, 60, 100, rng) + rng.standard_normal((60, 100)),
        "smooth": lambda: draw_smooth(4, 60, 100, rng),
    }[kind]()
    p = np.array([JumpSearch(row, np.zeros(100)).strongest_change()[2] for row in rows])
    assert np.mean(p < 0.05) <= 0.17  # 60 series at a true rate of .05 give more with probability .001
    assert 0.1 < np.mean(p < 0.5) < 0.8  # local scaling makes smooth series calmer than their surrogates


def test_the_tail_goes_on_and_turns_back() -> None:
    null = surrogates.SurrogateNull(np.ones(1), np.sort(np.random.default_rng(0).gumbel(3, 0.3, 100)))
    p = [null.tail_probability(value) for value in (1.0, 3.0, 4.0, 6.0, 20.0)]
    assert p == sorted(p, reverse=True) and 0 < p[-1] < 1e-10
    for probability in (0.1, 0.01, 1e-4):
        assert null.tail_probability(null.value_at(probability)) == pytest.approx(probability, rel=0.2)
    heavy = surrogates.SurrogateNull(np.ones(1), null.largest, freedom=3.0)
    assert heavy.tail_probability(20.0) > null.tail_probability(20.0)


def test_heavy_tails_keep_the_middle() -> None:
    rows = np.random.default_rng(1).standard_normal((4, 5000))
    mapped = surrogates.heavy_tailed(rows, 3.0)
    assert np.median(np.abs(mapped)) == pytest.approx(np.median(np.abs(rows)), rel=0.1)
    assert np.abs(mapped).max() > 1.5 * np.abs(rows).max()
