"""Masks are unbiased, a member's own, and the identity for those without dropout."""

import torch
from torch import nn

from digsite.train import Member, seeds
from digsite.train.group import MaskedDropout, Masks, mask_shapes, replace_dropout


def test_replacement_and_shapes():
    model = nn.Sequential(nn.Linear(4, 6), nn.Sequential(nn.Dropout(0.2), nn.Linear(6, 3)), nn.Dropout(0.5))
    assert replace_dropout(model) == {"1.0": 0.2, "2": 0.5}
    assert isinstance(model[1][0], MaskedDropout)
    assert mask_shapes(model, torch.rand(7, 4)) == {"1.0": (7, 6), "2": (7, 3)}
    x = torch.rand(7, 4)
    assert torch.equal(model(x), model[1][1](model[0](x)))


def masks(members: list[Member], rates: dict[str, float]) -> Masks:
    made = Masks(members, rates, torch.zeros(1))
    made.shapes = dict.fromkeys(rates, (100, 50))
    return made


def test_rates_and_scale():
    for rate in (0.1, 0.6):
        mask = masks(seeds(2, Member(dropout=rate)), {"a": 0.5}).at(3, 2)["a.mask"]
        assert abs((mask == 0).float().mean().item() - rate) < 0.02
        assert abs(mask.mean().item() - 1) < 0.03
        assert len(mask.unique()) == 2


def test_masks_are_a_members_own_and_change_with_the_step():
    three = seeds(3, Member(dropout=0.3))
    together = masks(three, {"a": 0.5, "b": 0.5})
    alone = masks(three[2:], {"a": 0.5, "b": 0.5})
    for step in (0, 1, 40):
        for name in ("a.mask", "b.mask"):
            assert torch.equal(together.at(step, 3)[name][2], alone.at(step, 1)[name][0])
    assert not torch.equal(together.at(0, 3)["a.mask"], together.at(1, 3)["a.mask"])
    assert not torch.equal(together.at(0, 3)["a.mask"], together.at(0, 3)["b.mask"])
    assert torch.equal(together.at(0, 3)["a.mask"], masks(three, {"a": 0.5, "b": 0.5}).at(0, 3)["a.mask"])


def test_no_dropout_is_ones_and_no_masks_at_all_where_nobody_has_any():
    mixed = masks([Member(dropout=0.0), Member(dropout=0.5)], {"a": 0.5}).at(0, 2)["a.mask"]
    assert (mixed[0] == 1).all() and (mixed[1] == 0).any()
    assert not masks(seeds(2, Member(dropout=0.0)), {"a": 0.5})
