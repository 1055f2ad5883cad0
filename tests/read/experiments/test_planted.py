import pytest
import torch

from digsite.read.config import PlantedConfig
from digsite.read.experiments.planted import RIVALS, scan_recipe, score_rivals
from digsite.read.subjects.planted import PLANS, draw_plan, join_sets


def test_rivals_see_what_they_look_at():
    head = torch.randn(30, 20, generator=torch.Generator().manual_seed(0))
    head[4] *= 5
    assert score_rivals(head)["row norm"].argmax() == 4
    assert set(score_rivals(head)) == set(RIVALS)


def test_one_row_for_each_network():
    config = PlantedConfig(networks=4, sets=["digits"], side=8, per_set=100, steps_share=0.02)
    rows = scan_recipe("tanh-adamw", PLANS["tanh-adamw"], config, join_sets(["digits"], 8, 100, 0))
    assert [r["target"] >= 0 for r in rows] == [False, True, False, True]
    assert {"scan", "scan_class", "row norm", "row norm_class"} <= set(rows[0])


def test_drawn_recipes_follow_from_their_seed_and_differ():
    plans = [draw_plan(7, i) for i in range(6)]
    assert plans == [draw_plan(7, i) for i in range(6)] and plans != [draw_plan(8, i) for i in range(6)]
    assert len({p.training["lr"] for p in plans}) == 6


def test_something_is_left_to_judge():
    with pytest.raises(ValueError, match="nothing is left to judge"):
        PlantedConfig(recipes=[])
