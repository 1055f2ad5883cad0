"""Coordination against circular shifts, and the loss link against its base rate."""

import numpy as np

from digsite.track.core.series import make_series
from digsite.track.judge import critical
from digsite.track.judge.critical import order_of_layers, settling_time


def layers(seed: int, together: bool) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    bursts = rng.choice(400, 30, replace=False)
    found = []
    for _ in range(6):
        steps = 0.1 * rng.standard_normal(400)
        steps[bursts if together else rng.choice(400, 30, replace=False)] += 3
        found.append(np.cumsum(steps))
    return found


def test_a_tenth_is_fast_by_construction() -> None:
    values = np.random.default_rng(0).standard_normal(1000).cumsum()
    assert abs(critical.fast_samples(values).mean() - 0.1) < 0.01
    assert abs(critical.fast_samples(values, 2).mean() - 0.1) < 0.01


def test_common_bursts_are_found_and_separate_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    common = critical.fast_periods(layers(1, True), rng)
    assert common is not None and common.p < 0.01 and common.highest > 0.9 > common.null_highest
    false = [critical.fast_periods(layers(s, False), rng, shifts=60) for s in range(30)]
    assert np.mean([f is not None and f.p < 0.05 for f in false]) < 0.2
    assert critical.fast_periods(layers(1, True)[:1], rng) is None


def test_the_loss_link_is_a_difference_to_the_base_rate() -> None:
    rng = np.random.default_rng(0)
    moving = layers(2, True)
    unlinked = rng.standard_normal(400).cumsum()
    found = critical.loss_link(moving, unlinked, rng, shifts=50)
    assert found.low is not None and found.high is not None and found.low < 0 < found.high
    drops = 0.1 * rng.standard_normal(400)
    drops[critical.fast_samples(moving[0])] -= 5
    linked = critical.loss_link(moving, drops.cumsum(), rng, shifts=50)
    assert linked.fell is not None and linked.fell > 0.5 + linked.base - 0.5
    assert linked.low is not None and linked.low > 0


def test_a_lag_is_found() -> None:
    rng = np.random.default_rng(5)
    speed = np.abs(rng.standard_normal(500)) ** 3
    values = np.cumsum(speed)
    loss = -np.cumsum(np.roll(speed, 4))
    found = critical.loss_link([values], loss, rng, shifts=50)
    assert found.lag == 4 and found.p < 0.05


def test_layers_of_other_seeds_are_a_null_that_knows_of_the_transient() -> None:
    rng = np.random.default_rng(0)

    def decays() -> list[np.ndarray]:
        time = np.arange(200)
        return [np.exp(-time / rng.uniform(5, 50)) + 0.002 * rng.standard_normal(200) for _ in range(6)]

    nets = [decays() for _ in range(8)]
    shifted = [critical.fast_periods(net, rng, shifts=60) for net in nets]
    beside = [
        critical.fast_periods(net, rng, shifts=60, elsewhere=[o for o in nets if o is not net])
        for net in nets
    ]
    assert all(
        found is not None and found.p < 0.05 for found in shifted
    )  # every one is "coordinated" in a circle
    assert sum(found is not None and found.p < 0.05 for found in beside) <= 2
    bursts = [layers(s, True) for s in range(6)]
    real = critical.fast_periods(bursts[0], rng, elsewhere=bursts[1:])
    assert real is not None and real.p < 0.02


# Settling times of curves that settle, that drift, and that never moved; the order of layers by permutation.

T = np.arange(400)
RNG = np.random.default_rng(0)


def noisy(values: np.ndarray) -> np.ndarray:
    return values + 0.05 * np.random.default_rng(1).standard_normal(len(values))


def test_an_exponential_settles_when_its_remainder_leaves_the_band() -> None:
    found = settling_time(make_series(noisy(5 * np.exp(-T / 30)), T * 10))
    assert found.kind == "converged" and found.step is not None
    remainder = 30 * np.log(5 / found.band)
    assert abs(found.step / 10 - remainder) < 40


def test_a_drift_has_not_converged_and_a_constant_is_called_constant() -> None:
    assert settling_time(make_series(noisy(T * 0.02), T)).kind == "not converged"
    assert settling_time(make_series(np.full(400, 2.0), T)).kind == "constant"


def test_white_noise_is_settled_from_the_start_almost_always() -> None:
    early = 0
    for seed in range(20):
        found = settling_time(make_series(np.random.default_rng(seed).standard_normal(400), T))
        early += found.kind == "converged"
    assert early >= 17


def test_orders() -> None:
    assert order_of_layers([10, 20, 30, 40, 50, 60], RNG).order == "bottom-up"
    assert order_of_layers([None, 60, 50, 40, 30, 20, 10], RNG).order == "top-down"
    assert order_of_layers([10, 10, 10, 10], RNG).order == "simultaneous"
    assert order_of_layers([0, 5, 3], RNG).order == "unclear"
    assert order_of_layers([None, None, None, None], RNG).correlation is None


def test_random_orders_are_called_ordered_in_a_twentieth() -> None:
    rng = np.random.default_rng(3)
    called = [
        order_of_layers(list(rng.permutation(8).astype(float)), rng, draws=300).order for _ in range(150)
    ]
    assert np.mean([c in ("bottom-up", "top-down") for c in called]) < 0.12
