"""Settling times of curves that settle, that drift, and that never moved; the order of layers by permutation."""

import numpy as np

from digsite.track.core.series import make_series
from digsite.track.judge.convergence import layer_order, settled

T = np.arange(400)
RNG = np.random.default_rng(0)


def noisy(values: np.ndarray) -> np.ndarray:
    return values + 0.05 * np.random.default_rng(1).standard_normal(len(values))


def test_an_exponential_settles_when_its_remainder_leaves_the_band() -> None:
    found = settled(make_series(noisy(5 * np.exp(-T / 30)), T * 10))
    assert found.kind == "converged" and found.step is not None
    remainder = 30 * np.log(5 / found.band)
    assert abs(found.step / 10 - remainder) < 40


def test_a_drift_has_not_converged_and_a_constant_is_called_constant() -> None:
    assert settled(make_series(noisy(T * 0.02), T)).kind == "not converged"
    assert settled(make_series(np.full(400, 2.0), T)).kind == "constant"


def test_white_noise_is_settled_from_the_start_almost_always() -> None:
    early = 0
    for seed in range(20):
        found = settled(make_series(np.random.default_rng(seed).standard_normal(400), T))
        early += found.kind == "converged"
    assert early >= 17


def test_orders() -> None:
    assert layer_order([10, 20, 30, 40, 50, 60], RNG).order == "bottom-up"
    assert layer_order([None, 60, 50, 40, 30, 20, 10], RNG).order == "top-down"
    assert layer_order([10, 10, 10, 10], RNG).order == "simultaneous"
    assert layer_order([0, 5, 3], RNG).order == "unclear"
    assert layer_order([None, None, None, None], RNG).correlation is None


def test_random_orders_are_called_ordered_in_a_twentieth() -> None:
    rng = np.random.default_rng(3)
    called = [layer_order(list(rng.permutation(8).astype(float)), rng, draws=300).order for _ in range(150)]
    assert np.mean([c in ("bottom-up", "top-down") for c in called]) < 0.12
