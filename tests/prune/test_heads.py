import numpy as np
import pytest

from digsite.base.errors import UsageError
from digsite.prune.heads import contrast, group_labels, group_test
from digsite.prune.packed import pack
from digsite.prune.view import View

RNG = np.random.default_rng(0)


def test_rows_of_one_head_are_told_from_others():
    """Each head prefers its own half of the inputs; margins stay even."""
    prefers = np.repeat([0.7, 0.3, 0.7, 0.3], 8)[:, None]
    chance = np.where(np.arange(60) < 30, prefers, 1 - prefers)
    keep = RNG.random((32, 60)) < chance
    test = group_test(keep, 4, draws=19)
    assert test.p == 1 / 20 and test.z > 3 and test.observed > 0
    assert group_test(RNG.random((32, 60)) < 0.5, 4, draws=19).p > 0.05


def test_the_contrast_by_hand():
    keep = RNG.random((4, 50)) < 0.5
    phi = np.corrcoef(keep)
    found = contrast(View(pack(keep)), group_labels(4, 2))
    assert found.inside == pytest.approx((phi[0, 1] + phi[2, 3]) / 2, abs=1e-6)
    assert found.outside == pytest.approx(phi[:2, 2:].mean(), abs=1e-6)


def test_heads_must_divide_the_rows():
    with pytest.raises(UsageError, match="10 features do not fall into 4 equal groups"):
        group_labels(10, 4)
