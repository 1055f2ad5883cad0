import numpy as np
import read_networks
import torch

from digsite.read.core.population import population
from digsite.read.core.readers import consensus


def test_members_of_one_mind_agree_fully():
    people = population([read_networks.make("gelu mlp")] * 3)
    state = consensus.fit(people, np.ones(3))
    names, values = consensus.extract(people.groups[0], True, state)
    assert np.allclose(values[:, names.index("agreement0")], 1)
    assert np.allclose(values[:, [names.index(f"class_agreement{i}") for i in range(4)]], 1)


def test_lead_is_over_the_best_other_class():
    torch.manual_seed(0)
    people = population([read_networks.make("gelu mlp")] * 2)
    state = consensus.fit(people, np.ones(2))
    maps = consensus.maps_of(people.groups[0])
    _, each, margin = consensus.per_output(maps, state["16x4"])
    t = state["16x4"].template
    unit = t / t.norm(dim=1, keepdim=True)
    rows = maps.raw[0] / maps.raw[0].norm(dim=1, keepdim=True)
    cosines = rows @ unit.T
    expected = [cosines[i, i] - max(cosines[i, j] for j in range(4) if j != i) for i in range(4)]
    assert torch.allclose(margin[0], torch.stack(expected)) and torch.allclose(each[0], cosines.diagonal())


def test_unknown_sizes_have_no_columns():
    group = population([read_networks.make("gelu mlp")]).groups[0]
    assert consensus.extract(group, True, {})[0] == []
