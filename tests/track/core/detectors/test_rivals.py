"""The rivals do what their rules say: what they find, and what they are fooled by."""

import numpy as np

from digsite.track.core.detectors.rivals import Kernel, Pelt, Trailing, Zscore


def test_marks_the_gaussian_tail_share() -> None:
    noise = np.random.default_rng(0).standard_normal((200, 400))
    share = np.mean([len(Zscore.detect(row)) / 399 for row in noise])
    assert abs(share - 0.0455) < 0.002  # P(|z| > 2)


def test_one_step_is_reported_several_times() -> None:
    rng = np.random.default_rng(0)
    values = np.r_[rng.standard_normal(100), 10 + rng.standard_normal(100)]
    near = [c for c in Trailing.detect(values) if 100 <= c.index < 110]
    assert len(near) > 1


def test_exact_on_flat_noise_and_fooled_by_a_ramp() -> None:
    rng = np.random.default_rng(0)
    flat = np.r_[rng.standard_normal(70), 6 + rng.standard_normal(70)]
    assert [c.index for c in Pelt.detect(flat)] == [70]
    assert len(Pelt.detect(np.linspace(0, 40, 200) + rng.standard_normal(200))) > 3


def test_same_split_as_brute_force() -> None:
    rng = np.random.default_rng(3)
    values = np.r_[rng.standard_normal(25), 5 + rng.standard_normal(15)]
    cost = [values[:i].var() * i + values[i:].var() * (len(values) - i) for i in range(2, 39)]
    assert [c.index for c in Pelt.detect(values)] == [2 + int(np.argmin(cost))]


def test_sees_a_change_of_spread() -> None:
    rng = np.random.default_rng(0)
    values = np.r_[0.2 * rng.standard_normal(150), 3 * rng.standard_normal(150)]
    assert any(abs(c.index - 150) <= 8 for c in Kernel.detect(values))
