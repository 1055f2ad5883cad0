from collections import Counter

import numpy as np
import pytest
import torch

from digsite.base import families
from digsite.base.errors import UsageError
from digsite.prune.core.matrix import prune_matrix
from digsite.prune.core.packed import pack
from digsite.prune.judge.nulls import ObservedMask, pad_words, random_bits
from digsite.prune.judge.nulls.random_masks import CoinFlips, Margins, Reprune, trade_margins
from digsite.prune.judge.verdict import NULLS

RNG = np.random.default_rng(0)
W = torch.randn(20, 32, generator=torch.Generator().manual_seed(0))
X = torch.randn(2, 40, 32, generator=torch.Generator().manual_seed(1)) * torch.linspace(0.3, 2, 32)


def wanda(weight):
    return prune_matrix(weight, X, "wanda", 0.5).keep


@pytest.mark.parametrize("name", families.list_members(NULLS))
def test_contract_of_every_null(name):
    """Same shape, another mask, padding bits clear, repeatable, and different draws differ."""
    observed = ObservedMask(pack(wanda(W).numpy()), W, wanda)
    model = families.scan_member(NULLS, name)()
    first, second = model.draw_masks(observed, 2, seed=3)
    again, _ = model.draw_masks(observed, 2, seed=3)
    assert (first.words == again.words).all() and (first.words != second.words).any()
    for draw in (first, second):
        assert draw.shape == observed.mask.shape and (draw.words != observed.mask.words).any()
        assert not (draw.words & ~pad_words(draw.words.shape[1], draw.n_bits)).any()
    assert model.__doc__


@pytest.mark.parametrize("density", [0.5, 0.1, 0.93])
def test_margins_keep_every_row_and_column(density):
    keep = RNG.random((31, 90)) < density * RNG.uniform(0.4, 1, 90)
    for draw in Margins().draw_masks(ObservedMask(pack(keep)), 3, 1):
        assert (draw.unpack().sum(0) == keep.sum(0)).all() and (draw.unpack().sum(1) == keep.sum(1)).all()


def test_margins_reach_every_mask_equally_often():
    """Closed case: 3 x 3 masks with one per row and column are the six permutations."""
    start = pack(np.eye(3, dtype=bool))
    seen = Counter(trade_margins(start, 6, np.random.default_rng(i)).unpack().tobytes() for i in range(1200))
    expected = 1200 / 6
    assert len(seen) == 6
    assert (
        sum((n - expected) ** 2 / expected for n in seen.values()) < 20.5
    )  # chi-square, 5 degrees, p = 0.001


def test_margins_forget_the_mask():
    """After the walk, agreement with the mask is that of two independent masks of one density."""
    keep = RNG.random((200, 200)) < 0.5
    (draw,) = Margins().draw_masks(ObservedMask(pack(keep)), 1, 2)
    assert abs((draw.unpack() == keep).mean() - 0.5) < 0.02


def test_a_mask_without_freedom_stays():
    full = np.ones((4, 6), bool)
    assert all(draw.unpack().all() for draw in Margins().draw_masks(ObservedMask(pack(full)), 2, 0))


@pytest.mark.parametrize("probability", [0.0, 0.25, 0.5, 0.3, 1.0])
def test_random_bits_have_their_probability(probability):
    words = random_bits(np.random.default_rng(1), (400, 3), probability, 150)
    share = np.bitwise_count(words).sum() / (400 * 150)
    assert abs(share - probability) < 4 * np.sqrt(0.25 / 60_000)


def test_coin_flips_have_the_masks_density():
    keep = RNG.random((60, 300)) < 0.2
    (draw,) = CoinFlips().draw_masks(ObservedMask(pack(keep)), 1, 0)
    assert abs(draw.unpack().mean() - keep.mean()) < 0.012


def test_reprune_keeps_counts_per_row_and_needs_weights():
    observed = ObservedMask(pack(wanda(W).numpy()), W, wanda)
    (draw,) = Reprune().draw_masks(observed, 1, 0)
    assert (draw.counts() == 16).all()
    with pytest.raises(UsageError, match="does not carry its weights"):
        next(Reprune().draw_masks(ObservedMask(observed.mask), 1, 0))
