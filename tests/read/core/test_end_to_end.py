import numpy as np
import pytest
import read_networks
import torch
from torch import nn

from digsite.read.core.end_to_end import centered, end_to_end
from digsite.read.core.parts import canonical, parts_of
from digsite.read.core.population import population
from digsite.read.core.symmetries import SYMMETRIES, changed


def test_it_is_the_network_without_its_nonlinearities():
    model = nn.Sequential(
        nn.Linear(6, 5, bias=False), nn.Linear(5, 4, bias=False), nn.Linear(4, 3, bias=False)
    )
    group = population([model]).groups[0]
    found = end_to_end(group.graph, parts_of(group.graph, group.tensors))
    assert torch.allclose(found[0].float(), model(torch.eye(6)).T, atol=1e-6)


@pytest.mark.parametrize("symmetry", ["permutation", "scale"])
def test_free_changes_do_not_move_it(symmetry):
    group = population([read_networks.make("relu mlp")]).groups[0]
    other = changed(group, SYMMETRIES[symmetry](group, np.random.default_rng(0)))
    a, b = (end_to_end(g.graph, canonical(g.graph, parts_of(g.graph, g.tensors))) for g in (group, other))
    assert torch.allclose(a, b, atol=1e-5)


def test_centering_removes_what_a_softmax_cannot_see():
    maps = torch.randn(2, 4, 5, dtype=torch.float64)
    raw, unit = centered(maps + torch.randn(2, 1, 5))
    assert torch.allclose(raw, centered(maps)[0])
    assert torch.allclose(unit.flatten(1).norm(dim=1), torch.ones(2, dtype=torch.float64))
