"""Recipes are drawn from their own streams, cover their factors, and give networks that can be built."""

import numpy as np
import pytest

from digsite.base.families import list_members
from digsite.models import build, parse
from digsite.zoo.config import FAMILIES, ZooConfig
from digsite.zoo.recipes import draw_recipe


def recipes(n: int, **settings):
    config = ZooConfig.model_validate(settings)
    return [draw_recipe(config, i, "digits", (1, 8, 8), 10) for i in range(n)]


def test_shares_are_those_of_the_config():
    drawn = recipes(3000)
    members = [r.member for r in drawn]
    assert len({m.seed for m in members}) == 3000
    assert np.mean([m.backdoor is not None for m in members]) == pytest.approx(0.3, abs=0.03)
    assert np.mean([bool(m.missing) for m in members]) == pytest.approx(0.4, abs=0.03)
    assert np.mean([m.label_noise > 0 for m in members]) == pytest.approx(0.6, abs=0.03)
    places = {(m.backdoor.row, m.backdoor.column) for m in members if m.backdoor}
    assert len(places) == 6 * 7
    rates = np.log([m.lr for m in members if m.optimizer == "adam"])
    assert np.exp(rates.min()) >= 5e-5 and np.exp(rates.max()) <= 1e-2
    assert np.median(rates) == pytest.approx(np.log(np.sqrt(5e-5 * 1e-2)), abs=0.2)


def test_a_recipe_depends_on_its_number_alone():
    few, many = recipes(5, members=5), recipes(50, members=50)
    assert few == many[:5]
    assert recipes(5, seed=1) != few


def test_corner_means_one_place_for_all():
    drawn = recipes(100, factors={"trigger": "corner"})
    assert {(b.row, b.column) for r in drawn if (b := r.member.backdoor)} == {(0, 0)}


@pytest.mark.parametrize("family", list_members(FAMILIES))
def test_every_family_can_be_built_on_small_and_large_images(family):
    config = ZooConfig.model_validate({"family": family})
    for image in ((1, 8, 8), (1, 28, 28), (3, 32, 32)):
        model = build(parse(draw_recipe(config, 3, "any", image, 10).model))
        assert 100 < sum(p.numel() for p in model.parameters()) < 250_000


def test_a_fixed_number_of_architectures():
    drawn = recipes(40, family="wild_cnn", architectures=5)
    assert len({r.architecture for r in drawn}) == 5
