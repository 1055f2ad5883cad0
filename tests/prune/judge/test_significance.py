import numpy as np
import pytest
from scipy.stats import false_discovery_control

from digsite.base.errors import UsageError
from digsite.prune.judge.significance import DEFAULT, adjusted, judge, null_test

RNG = np.random.default_rng(0)
COINS = RNG.random((48, 64)) < 0.5
# Margins of coin flips with two planted blocks that a checkerboard hides from them.
BLOCKS = RNG.random((48, 64)) < np.where((np.arange(48)[:, None] < 24) ^ (np.arange(64) < 32), 0.25, 0.75)


def test_planted_structure_is_found_and_coin_flips_are_not():
    for axis in ("rows", "columns"):
        found = null_test(BLOCKS, axis=axis, draws=39)
        assert [test.statistic for test in found] == list(DEFAULT)
        assert all(test.p == 1 / 40 and test.z > 4 and test.effect > 0 for test in found)
    assert all(test.p > 0.05 for test in null_test(COINS, axis="rows", draws=39, seed=1))


def test_densities_fool_coin_flips_but_not_margins():
    """Unequal columns: against coin flips everything is significant, against the right null nothing is."""
    dense = RNG.random((48, 64)) < np.linspace(0.05, 0.95, 64)
    against_coins = null_test(dense, "coin_flips", "rows", ["phi_spread", "nearest_hamming"], draws=19)
    assert all(test.p == 1 / 20 for test in against_coins)
    assert all(
        test.p > 0.05
        for test in null_test(dense, "margins", "rows", ["phi_spread", "top_singular"], draws=19)
    )


def test_p_values_of_null_masks_are_uniform():
    p = [
        null_test(RNG.random((12, 20)) < 0.5, axis="rows", statistics=["phi_spread"], draws=9, seed=i)[0].p
        for i in range(30)
    ]
    assert 0.35 < np.mean(p) < 0.75 and np.mean(np.array(p) <= 0.1) < 0.3


def test_one_test_by_hand():
    test = judge("x", "margins", "rows", 3.0, [1.0, 2.0, 3.0, 4.0], "upper")
    assert (
        test.p == 3 / 5
        and test.z == pytest.approx(0.5 / np.std([1, 2, 3, 4], ddof=1))
        and test.effect == pytest.approx(0.2)
    )
    assert judge("x", "n", "rows", 1.0, [2.0, 3.0], "lower").p == 1 / 3
    flat = judge("x", "n", "rows", 5.0, [5.0, 5.0], "upper")
    assert flat.p == 1.0 and flat.z == 0.0


def test_many_tests_are_adjusted_together():
    tests = [judge("x", "n", "rows", value, range(1, 100), "upper") for value in (200.0, 98.0, 50.0)]
    assert adjusted(tests) == pytest.approx(false_discovery_control([t.p for t in tests]).tolist())
    assert adjusted([]) == []


def test_wrong_names_are_answered():
    with pytest.raises(UsageError, match="no null 'margin'. Did you mean 'margins'"):
        null_test(COINS, "margin")
    with pytest.raises(UsageError, match="no statistic 'silhouet'. Did you mean 'silhouette'"):
        null_test(COINS, statistics=["silhouet"])
    with pytest.raises(UsageError, match="0 null draws"):
        null_test(COINS, draws=0)
