"""The family's contract: finite, repeatable, and higher (or lower) where structure was planted."""

import numpy as np
import pytest

from digsite.base import families
from digsite.prune.core.packed import pack
from digsite.prune.judge.statistics import MaskView
from digsite.prune.judge.verdict import STATISTICS

RNG = np.random.default_rng(0)
PLAIN = RNG.random((64, 96)) < 0.5
# Eight groups of eight equal rows, with some noise: every statistic should see that.
PLANTED = np.repeat(RNG.random((8, 96)) < 0.5, 8, axis=0) ^ (RNG.random((64, 96)) < 0.08)


@pytest.mark.parametrize("name", families.list_members(STATISTICS))
def test_contract_of_every_statistic(name):
    member = families.scan_member(STATISTICS, name)()
    plain, planted = (member.compute_value(MaskView(pack(keep))) for keep in (PLAIN, PLANTED))
    assert np.isfinite([plain, planted]).all() and member.TAIL in ("upper", "lower") and member.__doc__
    assert planted > plain if member.TAIL == "upper" else planted < plain
    assert member.compute_value(MaskView(pack(PLAIN))) == plain


def test_nearest_hamming_by_hand():
    keep = np.array([[1, 1, 0, 0], [1, 1, 0, 1], [0, 0, 0, 1]], bool)
    nearest = families.scan_member(STATISTICS, "nearest_hamming")().compute_value(MaskView(pack(keep)))
    assert nearest == pytest.approx((1 + 1 + 2) / 3 / 4)
