"""The segmentation is exact: on a flat base it finds the planted places, on a trend it invents some."""

import numpy as np

from digsite.track.core.detectors import pelt


def test_exact_on_flat_noise_and_fooled_by_a_ramp() -> None:
    rng = np.random.default_rng(0)
    flat = np.r_[rng.standard_normal(70), 6 + rng.standard_normal(70)]
    assert [c.index for c in pelt.detect(flat)] == [70]
    assert len(pelt.detect(np.linspace(0, 40, 200) + rng.standard_normal(200))) > 3


def test_same_split_as_brute_force() -> None:
    rng = np.random.default_rng(3)
    values = np.r_[rng.standard_normal(25), 5 + rng.standard_normal(15)]
    cost = [values[:i].var() * i + values[i:].var() * (len(values) - i) for i in range(2, 39)]
    assert [c.index for c in pelt.detect(values)] == [2 + int(np.argmin(cost))]
