import numpy as np
import pytest

from digsite.prune.judge.densities import densities


def test_shares_of_a_mask_made_of_margins():
    keep = np.zeros((4, 10), bool)
    keep[:, :5] = True  # columns explain everything
    seen = densities(keep)
    assert (seen.density, seen.row_share, seen.column_share) == (0.5, 0.0, 1.0) and seen.margins == 1.0
    assert seen.rows == (0.5, 0.5) and seen.columns == (0.0, 1.0)


def test_coin_flips_are_explained_as_little_as_counting_noise():
    keep = np.random.default_rng(0).random((400, 300)) < 0.5
    assert densities(keep).margins == pytest.approx(1 / 400 + 1 / 300, rel=0.3)


def test_a_constant_mask_has_nothing_to_explain():
    assert densities(np.ones((3, 3), bool)).margins == 0.0
