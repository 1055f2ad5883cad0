"""What every detector keeps: order, range, silence on constants, and names that can be listed."""

from typing import Any

import numpy as np
import pytest

from digsite.base import families
from digsite.track.core.detect import detect_jumps

MEMBERS = families.scan_family("digsite.track.core.detectors")


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_contract(name: str) -> None:
    rng = np.random.default_rng(0)
    values = np.r_[rng.standard_normal(60), 30 + rng.standard_normal(60)]
    member: Any = MEMBERS[name]
    found = member.detect(values)
    assert found, "a jump of thirty standard deviations is there"
    assert [c.index for c in found] == sorted(c.index for c in found)
    assert all(0 < c.low <= c.index <= c.high < len(values) for c in found)
    assert any(abs(c.index - 60) <= 1 for c in found)
    assert member.detect(np.full(100, 3.0)) == []


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_times_are_training_steps(name: str) -> None:
    rng = np.random.default_rng(1)
    values = np.r_[rng.standard_normal(80), 40 + rng.standard_normal(80)]
    steps = np.arange(160) * 25
    assert any(abs(jump.step - 80 * 25) <= 25 for jump in detect_jumps(values, steps, detector=name))
