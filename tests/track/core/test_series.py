"""Bad time axes are named, holes are kept as marks, and constants are called constant."""

import numpy as np
import pytest

from digsite.base.errors import UsageError
from digsite.track import detect_jumps
from digsite.track.core.series import is_constant, make_series


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([0, 1, 1, 2], "Step 1 appears twice"),
        ([0, 2, 1, 3], "backward from 2 to 1"),
        ([0, 1, 2], "4 values but 3 steps"),
        ([0, 1, float("nan"), 3], "Step number 2 is not a number"),
    ],
)
def test_bad_steps(steps: list[float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_series([1.0, 2.0, 3.0, 4.0], steps)


def test_holes_are_marked_and_irregular_steps_are_fine() -> None:
    series = make_series([1.0, float("nan"), 3.0, 4.0], [0, 1, 2, 8])
    assert series.holes == 1
    assert not series.regular
    assert series.steps.tolist() == [0, 2, 8]


def test_too_few_samples() -> None:
    with pytest.raises(UsageError, match="19 samples is too short"):
        detect_jumps(np.arange(19.0))


def test_rounding_is_constant_and_a_real_change_is_not() -> None:
    rng = np.random.default_rng(0)
    assert is_constant(1 - 1e-9 * rng.random(400))
    assert detect_jumps(1 - 1e-9 * rng.random(400)) == []
    assert not is_constant(1 + 1e-3 * rng.random(400))


def test_detection_with_holes_and_irregular_steps() -> None:
    rng = np.random.default_rng(1)
    values = np.r_[rng.standard_normal(60), 9 + rng.standard_normal(60)]
    values[[5, 70]] = np.nan
    steps = np.cumsum(rng.integers(1, 9, 120)).astype(float)
    (jump,) = detect_jumps(values, steps)
    assert steps[58] <= jump.step <= steps[62]


def test_an_unknown_detector() -> None:
    with pytest.raises(UsageError, match="Did you mean 'edge'"):
        detect_jumps(np.random.default_rng(0).random(50), detector="edgy")
