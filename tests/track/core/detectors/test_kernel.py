"""The radial-basis kernel sees a change of spread that no level test can see."""

import numpy as np

from digsite.track.core.detectors import kernel


def test_sees_a_change_of_spread() -> None:
    rng = np.random.default_rng(0)
    values = np.r_[0.2 * rng.standard_normal(150), 3 * rng.standard_normal(150)]
    assert any(abs(c.index - 150) <= 8 for c in kernel.detect(values))
