import numpy as np
import pytest

from digsite.base.errors import UsageError
from digsite.prune.core.packed import pack
from digsite.prune.judge.heads import (
    HeadCounts,
    contrast_groups,
    group_labels,
    group_test,
    head_counts,
    structure_of,
)
from digsite.prune.judge.statistics import MaskView

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
    found = contrast_groups(MaskView(pack(keep)), group_labels(4, 2))
    assert found.inside == pytest.approx((phi[0, 1] + phi[2, 3]) / 2, abs=1e-6)
    assert found.outside == pytest.approx(phi[:2, 2:].mean(), abs=1e-6)


def test_heads_that_share_keys_are_compared_head_with_head():
    """Rows of one head agree strongly everywhere; only in the first mask do the two heads of a group agree too."""
    own = RNG.random((4, 120)) < 0.5
    shared = np.repeat(RNG.random((2, 120)) < 0.5, 2, axis=0)
    noise = RNG.random((32, 120)) < 0.15
    for grouped in (True, False):
        taste = np.where(RNG.random((4, 120)) < 0.6, shared, own) if grouped else own
        test = group_test(np.repeat(taste, 8, axis=0) ^ noise, 2, draws=19, n_parts=4)
        assert test.statistic == "shared_head_contrast" and (test.z > 3) == grouped
    keep = np.repeat(own, 8, axis=0) ^ noise
    assert group_test(keep, 4, draws=19).z > 3, "heads without groups are seen by the plain contrast"


def test_the_map_says_which_groups_it_has(llama):
    heads = head_counts(llama())
    assert heads == HeadCounts(2, 1)
    assert structure_of("model.layers.0.self_attn.q_proj", heads) == [(2, "rows", 0)]
    assert structure_of("x.q_proj", HeadCounts(4, 2)) == [(4, "rows", 0), (2, "rows", 4)]
    assert structure_of("x.q_proj", HeadCounts(4, 4)) == [(4, "rows", 0)], "nothing is shared"
    assert structure_of("x.o_proj", heads) == [(2, "columns", 0)] and not structure_of("x.up_proj", heads)


def test_heads_must_divide_the_rows():
    with pytest.raises(UsageError, match="10 features do not fall into 4 equal groups"):
        group_labels(10, 4)
