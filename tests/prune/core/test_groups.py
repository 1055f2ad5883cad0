import numpy as np
import pytest

from digsite.prune.core import groups

KEEP = np.random.default_rng(0).random((40, 60)) < np.linspace(0.02, 0.9, 40)[:, None]


@pytest.mark.parametrize("order", groups.ORDERS)
def test_an_order_is_a_permutation_and_counts_are_true(order):
    arranged = groups.arrange(KEEP, order)
    assert sorted(arranged.tolist()) == list(range(40))
    found = groups.report(KEEP, order)
    blocks = KEEP[arranged].reshape(5, 8, 60)
    assert found.zero_cells == (~blocks.any(1)).sum() and found.full_cells == blocks.all(1).sum()
    assert found.unique_rows == sum(len({tuple(column) for column in block.T}) for block in blocks)


def test_sorting_by_density_gains_what_it_should():
    shuffled = KEEP[np.random.default_rng(1).permutation(40)]
    assert groups.report(shuffled, "density").coherence > groups.coherence(shuffled)


def test_coin_flips_give_p_to_the_eighth():
    coins = np.random.default_rng(2).random((800, 400)) < 0.3
    assert groups.coherence(coins) == pytest.approx(groups.expected_coherence(coins), rel=0.1)


def test_the_hamming_order_puts_equal_features_together():
    kinds = np.tile(np.arange(4), 8)
    keep = (np.random.default_rng(3).random((4, 50)) < 0.3)[kinds]
    order = groups.arrange(keep, "hamming")
    assert (kinds[order].reshape(4, 8) == kinds[order].reshape(4, 8)[:, :1]).all()


def test_fewer_features_than_a_group():
    assert groups.coherence(np.zeros((5, 9), bool)) == 0.0
