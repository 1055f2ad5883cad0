"""Whole steps, low precision and held values are recognized, continuous values are not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digsite.track.core.detectors import edge


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1.0, 0.01, 0.25, 3.0, 1e-4]))
def test_the_step_of_a_lattice(seed: int, step: float) -> None:
    values = step * np.round(4 * np.random.default_rng(seed).standard_normal(80))
    assert edge.find_lattice(values).quantum == pytest.approx(np.full(80, step))


def test_continuous_values_have_none() -> None:
    values = np.random.default_rng(0).standard_normal(300)
    found = edge.find_lattice(values)
    assert not found.quantum.any() and not found.held


def test_half_precision_steps_with_the_level() -> None:
    values = np.exp(np.random.default_rng(1).standard_normal(200)).astype(np.float16).astype(float)
    truth = np.spacing(values.astype(np.float16)).astype(float)
    assert edge.find_lattice(values).quantum == pytest.approx(truth)


def test_held_values_with_and_without_a_period() -> None:
    fresh = np.random.default_rng(2).standard_normal(60)
    regular = edge.find_lattice(np.repeat(fresh, 4))
    assert regular.period == 4 and regular.held > 0.7
    kept, values = edge.drop_repeats(np.repeat(fresh, 4))
    assert values == pytest.approx(fresh) and kept.tolist() == list(range(0, 240, 4))
    best = edge.find_lattice(np.minimum.accumulate(fresh))
    assert best.held > 0.5 and best.period == 0


def test_dither_stays_in_the_cell_and_repeats() -> None:
    values, quantum = np.arange(50.0), np.full(50, 2.0)
    once = edge.spread_over_cells(values, quantum)
    assert (np.abs(once - values) <= 1).all() and (once == edge.spread_over_cells(values, quantum)).all()
