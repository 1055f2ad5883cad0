import torch

from digsite.read.config import PlantedConfig
from digsite.read.experiments.planted import RIVALS, scan_recipe, score_rivals
from digsite.read.subjects.planted import join_sets


def test_rivals_see_what_they_look_at():
    head = torch.randn(30, 20, generator=torch.Generator().manual_seed(0))
    head[4] *= 5
    assert score_rivals(head)["row norm"].argmax() == 4
    assert set(score_rivals(head)) == set(RIVALS)


def test_one_row_for_each_network():
    config = PlantedConfig(networks=4, sets=["digits"], side=8, per_set=100, steps_share=0.02)
    rows = scan_recipe("tanh-adamw", config, join_sets(["digits"], 8, 100, 0))
    assert [r["target"] >= 0 for r in rows] == [False, True, False, True]
    assert {"scan", "scan_class", "row norm", "row norm_class"} <= set(rows[0])
