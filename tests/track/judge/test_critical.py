"""Coordination against circular shifts, and the loss link against its base rate."""

import numpy as np

from digsite.track.judge import critical


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
    assert abs(critical.fast(values).mean() - 0.1) < 0.01
    assert abs(critical.fast(values, 2).mean() - 0.1) < 0.01


def test_common_bursts_are_found_and_separate_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    common = critical.periods(layers(1, True), rng)
    assert common is not None and common.p < 0.01 and common.highest > 0.9 > common.null_highest
    false = [critical.periods(layers(s, False), rng, shifts=60) for s in range(30)]
    assert np.mean([f is not None and f.p < 0.05 for f in false]) < 0.2
    assert critical.periods(layers(1, True)[:1], rng) is None


def test_the_loss_link_is_a_difference_to_the_base_rate() -> None:
    rng = np.random.default_rng(0)
    moving = layers(2, True)
    unlinked = rng.standard_normal(400).cumsum()
    found = critical.loss_link(moving, unlinked, rng, shifts=50)
    assert found.low is not None and found.high is not None and found.low < 0 < found.high
    drops = 0.1 * rng.standard_normal(400)
    drops[critical.fast(moving[0])] -= 5
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
    shifted = [critical.periods(net, rng, shifts=60) for net in nets]
    beside = [
        critical.periods(net, rng, shifts=60, elsewhere=[o for o in nets if o is not net]) for net in nets
    ]
    assert all(
        found is not None and found.p < 0.05 for found in shifted
    )  # every one is "coordinated" in a circle
    assert sum(found is not None and found.p < 0.05 for found in beside) <= 2
    bursts = [layers(s, True) for s in range(6)]
    real = critical.periods(bursts[0], rng, elsewhere=bursts[1:])
    assert real is not None and real.p < 0.02
