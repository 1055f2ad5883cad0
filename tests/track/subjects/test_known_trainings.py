"""The closed form of the stage times, against integrating the differential equation."""

import numpy as np
import pytest

from digsite.track.subjects.known_trainings import half_time


@pytest.mark.parametrize("strength", [6.0, 1.5])
def test_half_time_against_small_steps(strength: float) -> None:
    a, lr, steps = 1e-3, 1e-4, 0
    while a < strength / 2:  # da/dt = 2 a (s - a) for balanced weights
        a += lr * 2 * a * (strength - a)
        steps += 1
    assert steps == pytest.approx(half_time(strength, 1e-3, lr), rel=0.002)
    assert np.isfinite(steps)
