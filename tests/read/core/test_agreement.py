import read_networks
import torch

from digsite.read.core.agreement import learn, maps_of
from digsite.read.core.population import population


def test_good_networks_set_the_template():
    models = [read_networks.make("gelu mlp") for _ in range(4)]
    with torch.no_grad():
        for m in models[2:]:
            m.layers[0].weight.neg_()
    people = population(models)
    quality = torch.tensor([1.0, 1.0, 0.0, 0.0])
    found = learn(people, quality)["16x4"]
    maps = maps_of(people.groups[0])
    assert torch.allclose(
        (maps.unit * found.template).sum((1, 2)).sign(), torch.tensor([1.0, 1, -1, -1]).double()
    )
    assert torch.allclose(found.map_basis.T @ found.map_basis, torch.eye(16).double(), atol=1e-8)


def test_few_inputs_have_no_map_worth_comparing():
    assert maps_of(population([read_networks.make("small cnn")]).groups[0]) is None


def test_zero_quality_falls_back_to_equal_weights():
    people = population([read_networks.make("gelu mlp")] * 3)
    assert torch.isfinite(learn(people, torch.zeros(3))["16x4"].template).all()
