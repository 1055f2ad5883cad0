import numpy as np
import pytest
import read_networks
import torch
from torch import nn

from digsite.read.core import agreement
from digsite.read.core.agreement import center_maps, end_to_end, learn_agreements, map_group
from digsite.read.core.graph import to_canonical_form, weigh_graph
from digsite.read.core.population import stack_models
from digsite.read.core.symmetries import SYMMETRIES, change_group


def test_good_networks_set_the_template():
    models = [read_networks.make("gelu mlp") for _ in range(4)]
    with torch.no_grad():
        for m in models[2:]:
            m.layers[0].weight.neg_()
    people = stack_models(models)
    quality = torch.tensor([1.0, 1.0, 0.0, 0.0])
    found = learn_agreements(people, quality)["16x4"]
    maps = map_group(people.groups[0])
    assert torch.allclose(
        (maps.unit * found.template).sum((1, 2)).sign(), torch.tensor([1.0, 1, -1, -1]).double()
    )
    assert torch.allclose(found.map_basis.T @ found.map_basis, torch.eye(16).double(), atol=1e-8)


def test_few_inputs_have_no_map_worth_comparing():
    assert map_group(stack_models([read_networks.make("small cnn")]).groups[0]) is None


def test_zero_quality_falls_back_to_equal_weights():
    people = stack_models([read_networks.make("gelu mlp")] * 3)
    assert torch.isfinite(learn_agreements(people, torch.zeros(3))["16x4"].template).all()


def test_it_is_the_network_without_its_nonlinearities():
    model = nn.Sequential(
        nn.Linear(6, 5, bias=False), nn.Linear(5, 4, bias=False), nn.Linear(4, 3, bias=False)
    )
    group = stack_models([model]).groups[0]
    found = end_to_end(group.graph, weigh_graph(group.graph, group.tensors))
    assert torch.allclose(found[0].float(), model(torch.eye(6)).T, atol=1e-6)


@pytest.mark.parametrize("symmetry", ["permutation", "scale"])
def test_free_changes_do_not_move_it(symmetry):
    group = stack_models([read_networks.make("relu mlp")]).groups[0]
    other = change_group(group, SYMMETRIES[symmetry](group, np.random.default_rng(0)))
    a, b = (
        end_to_end(g.graph, to_canonical_form(g.graph, weigh_graph(g.graph, g.tensors)))
        for g in (group, other)
    )
    assert torch.allclose(a, b, atol=1e-5)


def test_centering_removes_what_a_softmax_cannot_see():
    maps = torch.randn(2, 4, 5, dtype=torch.float64)
    raw, unit = center_maps(maps + torch.randn(2, 1, 5))
    assert torch.allclose(raw, center_maps(maps)[0])
    assert torch.allclose(unit.flatten(1).norm(dim=1), torch.ones(2, dtype=torch.float64))


def test_maps_of_whole_images_have_the_same_principal_directions(monkeypatch):
    flat = torch.randn(50, 90, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    flat *= torch.linspace(3, 0.1, 90)
    squared = agreement._principal_maps(flat)
    monkeypatch.setattr(agreement, "MOST_SQUARED", 10)
    by_members = agreement._principal_maps(flat)
    assert by_members.shape == squared.shape == (agreement.N_COMPONENTS, 90)
    assert torch.allclose((by_members * squared).sum(1).abs(), torch.ones(agreement.N_COMPONENTS).double())
