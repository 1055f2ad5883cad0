import numpy as np
import read_networks
import torch

from digsite.read.core.agreement import Maps, ZooAgreement
from digsite.read.core.population import stack_models
from digsite.read.core.readers import consensus
from digsite.read.core.readers.consensus import image_side, scan_windows


def test_members_of_one_mind_agree_fully():
    people = stack_models([read_networks.make("gelu mlp")] * 3)
    state = consensus.fit_consensus(people, np.ones(3))
    names, values = consensus.extract_consensus(people.groups[0], True, state)
    assert np.allclose(values[:, names.index("agreement0")], 1)
    assert np.allclose(values[:, [names.index(f"class_agreement{i}") for i in range(4)]], 1)


def test_lead_is_over_the_best_other_class():
    torch.manual_seed(0)
    people = stack_models([read_networks.make("gelu mlp")] * 2)
    state = consensus.fit_consensus(people, np.ones(2))
    maps = consensus.map_group(people.groups[0])
    _, each, margin = consensus.per_output(maps, state["16x4"])
    t = state["16x4"].template
    unit = t / t.norm(dim=1, keepdim=True)
    rows = maps.raw[0] / maps.raw[0].norm(dim=1, keepdim=True)
    cosines = rows @ unit.T
    expected = [cosines[i, i] - max(cosines[i, j] for j in range(4) if j != i) for i in range(4)]
    assert torch.allclose(margin[0], torch.stack(expected)) and torch.allclose(each[0], cosines.diagonal())


def test_unknown_sizes_have_no_columns():
    group = stack_models([read_networks.make("gelu mlp")]).groups[0]
    assert consensus.extract_consensus(group, True, {})[0] == []


def _zoo():
    ones = torch.ones(10, 64).double()
    return ZooAgreement(ones, ones[:1], torch.eye(64), torch.eye(64), 0 * ones, ones, 0 * ones[0], ones[0])


def test_planted_window_stands_out_wherever_it_is():
    torch.manual_seed(0)
    unit = torch.randn(30, 10, 64).double()
    planted = unit.clone().reshape(30, 10, 8, 8)
    planted[:, 3, 2:5, 4:6] += 4
    first = torch.randn(30, 12, 64).double()
    clean, found = (scan_windows(Maps(u, u, first), _zoo()) for u in (unit, planted.flatten(2)))
    assert (found[:, 7] > clean.amax(0)[7]).all()  # the strongest window of all classes


def test_image_shapes():
    assert image_side(64) == (1, 8) and image_side(3 * 32 * 32) == (3, 32) and image_side(50) is None
