"""Spikes are found, and told from steps, ramps and kinks; noise without them has hardly any."""

import numpy as np
import pytest

from digsite.track import detect_jumps
from digsite.track.core.detectors import edge
from digsite.track.judge.planted_jumps import draw_build_families

ALL = ("step", "ramp", "kink", "spike")


def kinds(values: np.ndarray) -> list[tuple[str, int]]:
    return [(jump.kind, jump.index) for jump in detect_jumps(values, kinds=ALL)]


def noise(n: int = 200, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(n)


@pytest.mark.parametrize("width", [1, 2])
def test_a_spike_is_a_spike(width: int) -> None:
    values = noise()
    values[120 : 120 + width] += 14
    assert kinds(values) == [("spike", 120)]
    (spike,) = detect_jumps(values, kinds=("spike",))
    assert spike.change == pytest.approx(14, abs=3) and abs(spike.before) < 2
    assert detect_jumps(values) == []


def test_each_kind_is_told_apart() -> None:
    t = np.arange(300.0)
    step, ramp = 9.0 * (t >= 150), 12 * np.clip((t - 145) / 12, 0, 1)
    kink = np.maximum(t - 150, 0) * 0.8
    found = {
        name: [kind for kind, _ in kinds(curve + noise(300))]
        for name, curve in {"step": step, "ramp": ramp, "kink": kink}.items()
    }
    assert found == {"step": ["step"], "ramp": ["ramp"], "kink": ["kink"]}


@pytest.mark.parametrize("null", ["white", "AR .8", "decay", "sigmoid of 60", "drifting walk"])
def test_noise_has_no_spikes(null: str) -> None:
    rows = draw_build_families(200, 60, np.random.default_rng(1))[null]
    assert np.mean([bool(edge.find_spikes(row, 0.05)) for row in rows]) <= 0.1
