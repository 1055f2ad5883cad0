import read_networks
import torch

from digsite.read.core.agreement import learn
from digsite.read.core.edges import batch_of, compile_population
from digsite.read.core.linear_path import LinearPath, safe
from digsite.read.core.population import population


def test_starts_at_what_the_zoo_agrees_on():
    people = population([read_networks.make("gelu mlp") for _ in range(3)])
    agreements = learn(people, torch.ones(3))
    path = LinearPath({"input:16": 16, "output:4": 4}, 6)
    path.start_from(agreements)
    assert torch.allclose(path.patterns["input_16"], agreements["16x4"].map_basis[:, :6].float())
    features = path(batch_of(compile_population(people, True)))
    assert features.shape == (3, path.n_features)
    assert torch.allclose(features[0], features[1])


def test_unknown_sizes_give_zeros():
    path = LinearPath({"input:9": 9, "output:4": 4}, 3)
    batch = batch_of(compile_population(population([read_networks.make("gelu mlp")]), True))
    assert (path(batch) == 0).all()


def test_names_are_safe():
    assert safe("input:16.x") == "input_16_x"
