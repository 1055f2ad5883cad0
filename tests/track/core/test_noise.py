"""Memory and scale of the noise, blind to trends, steps and spikes."""

import numpy as np
import pytest

from digsite.track.core import noise
from digsite.track.judge.planted_jumps import draw_two_root_process

RNG = np.random.default_rng(0)
T = np.arange(400)


@pytest.mark.parametrize(("first", "second"), [(0.0, 0.0), (0.8, 0.0), (1.0, 0.0), (1.0, 0.6)])
def test_roots_are_found(first: float, second: float) -> None:
    found = noise.fit_two_roots(
        draw_two_root_process((first, second), 60, 400, np.random.default_rng(1))
    ).mean(0)
    assert found == pytest.approx([first, second], abs=0.09)


def test_trends_and_steps_do_not_look_like_memory() -> None:
    rows = np.random.default_rng(2).standard_normal((40, 400))
    for shape in (0.5 * T, 20 * np.exp(-T / 40), 5.0 * (T > 200)):
        assert noise.fit_two_roots(rows + shape)[:, 0].mean() < 0.12


@pytest.mark.parametrize("slope", [0.0, 0.1, 3.0])
def test_scale_of_white_noise_on_any_slope(slope: float) -> None:
    rows = 2.5 * np.random.default_rng(3).standard_normal((40, 400)) + slope * T
    assert noise.innovation_scale(rows).mean() == pytest.approx(2.5, rel=0.06)


def test_falling_noise_is_followed() -> None:
    rows = np.random.default_rng(4).standard_normal((60, 400)) * np.linspace(4, 1, 400)
    scale = noise.innovation_scale(rows).mean(0)
    assert scale[40] / scale[360] == pytest.approx(3.7 / 1.3, rel=0.2)


def test_spikes_are_cut_and_steps_pass() -> None:
    values = 0.1 * np.random.default_rng(5).standard_normal((1, 200)) + 5.0 * (np.arange(200) >= 100)
    values[0, 50] += 40
    cut = noise.cut_spikes(values)
    assert abs(cut[0, 50]) < 1
    assert cut[0, 100:].mean() - cut[0, :100].mean() == pytest.approx(5, abs=0.1)


def test_whitening_undoes_the_recursion() -> None:
    rows = draw_two_root_process((0.7, 0.4), 1, 3000, np.random.default_rng(6))
    rest = noise.whiten_roots(rows, (0.7, 0.4))[0]
    lag = np.corrcoef(rest[1:], rest[:-1])[0, 1]
    assert abs(lag) < 0.05
    assert draw_two_root_process((0.7, 0.4), 200, 400, RNG).std() == pytest.approx(1, rel=0.05)
