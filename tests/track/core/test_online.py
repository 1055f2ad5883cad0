"""The sequential test fires at a jump and rarely without one; the ring still has the weights from before."""

import numpy as np
import torch
from torch import nn

from digsite.track.core.online import SequentialTest, WeightRing


def alarms(values: np.ndarray) -> list[int]:
    test = SequentialTest()
    return [i for i, value in enumerate(values) if test.update(float(value))]


def test_fires_soon_after_a_jump_and_not_before() -> None:
    found = 0
    for seed in range(20):
        values = np.random.default_rng(seed).standard_normal(200)
        values[100:] += 8
        first = next(iter(alarms(values)), None)
        found += first is not None and 100 <= first <= 106
    assert found >= 18


def test_rarely_fires_on_noise_and_on_a_ramp() -> None:
    for slope in (0.0, 0.3):
        count = sum(
            len(alarms(np.random.default_rng(s).standard_normal(500) + slope * np.arange(500)))
            for s in range(20)
        )
        assert count <= 4  # in 10,000 samples


def test_the_ring_keeps_weights_from_before_the_jump() -> None:
    model = nn.Linear(2, 1)
    caught: list[tuple[int, str, list[int]]] = []
    ring = WeightRing(
        model, lambda step, name, saved: caught.append((step, name, [s for s, _ in saved])), size=5
    )
    values = np.random.default_rng(0).standard_normal(80)
    values[50:] += 10
    for step, value in enumerate(values):
        with torch.no_grad():
            model.weight.fill_(float(step))
        ring.watch_series(step, {"layer": value})
    step, name, saved = caught[0]
    assert name == "layer" and 50 <= step <= 54
    assert min(saved) < 50
