"""The fast z-scores are those of generalized least squares, done by hand."""

import numpy as np
import pytest

from digsite.track.core import stepfit


@pytest.mark.parametrize("memory", [(0.0, 0.0), (0.6, 0.2), (1.0, 0.5)])
@pytest.mark.parametrize("template", range(len(stepfit.TEMPLATES)))
def test_against_least_squares_on_whitened_data(memory: tuple[float, float], template: int) -> None:
    values = np.random.default_rng(0).standard_normal(150)
    half, width = stepfit.TEMPLATES[template]
    place = 70
    z = stepfit.z_scores(values[None], memory, np.ones((1, 148)))[0, template, place]
    u = np.arange(place - half - 2, place + half) - place + 0.5
    y = stepfit.whiten(values[place - half - 2 : place + half], memory)
    step = stepfit.whiten(stepfit.rise(u, width), memory)
    design = np.stack([np.ones(2 * half), u[2:], step], 1)
    coef = np.linalg.lstsq(design, y, rcond=None)[0][2]
    error = np.sqrt(np.linalg.inv(design.T @ design)[2, 2])
    assert z == pytest.approx(coef / error, rel=1e-6)


def test_places_without_a_full_window_are_zero() -> None:
    z = stepfit.z_scores(np.random.default_rng(0).standard_normal((1, 60)), (0.0, 0.0), np.ones((1, 58)))
    assert (z[0, 2] == 0).all() and (z[0, 0, :10] == 0).all() and (z[0, 0, 20:40] != 0).all()
