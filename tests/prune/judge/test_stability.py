import numpy as np
import pytest

from digsite.prune.core.hamming import measure_distances
from digsite.prune.core.packed import pack
from digsite.prune.judge.comparison import AskedClusters, measure_stability, resample_distances

RNG = np.random.default_rng(0)


def test_resampled_distances_are_hamming_on_the_drawn_positions():
    bits = RNG.random((7, 90)) < 0.4
    drawn = np.random.default_rng(5).multinomial(90, np.full(90, 1 / 90))
    positions = np.repeat(np.arange(90), drawn)
    found = resample_distances(bits, np.random.default_rng(5))
    assert (found == measure_distances(pack(bits[:, positions]))).all()


def test_real_clusters_come_back_and_coin_flips_do_not():
    kinds = RNG.random((4, 400)) < 0.5
    real = kinds[np.repeat(np.arange(4), 10)] ^ (RNG.random((40, 400)) < 0.1)
    again = kinds[np.repeat(np.arange(4), 10)] ^ (RNG.random((40, 400)) < 0.1)
    asked = AskedClusters([0, 25], 40, [4], n_init=3)
    found = measure_stability(pack(real), [pack(again)], asked, 2)
    assert found["bootstrap"] == pytest.approx([1.0]) and found["calibration"] == pytest.approx([1.0])
    coins = [pack(RNG.random((40, 400)) < 0.5) for _ in range(2)]
    found = measure_stability(coins[0], coins[1:], asked, 2)
    assert found["bootstrap"][0] < 0.6 and abs(found["calibration"][0]) < 0.2
    assert "calibration" not in measure_stability(coins[0], [], asked, 1)
