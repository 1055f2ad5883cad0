import numpy as np
import torch

from digsite.read.core.population import Known, group
from digsite.read.core.symmetries import SYMMETRIES, changed
from digsite.read.judge.matching import match_networks
from digsite.read.subjects.network import network_of


def _mlp(seed):
    g = torch.Generator().manual_seed(seed)
    return {
        "a.weight": torch.randn(20, 30, generator=g),
        "a.bias": torch.randn(20, generator=g),
        "b.weight": torch.randn(12, 20, generator=g),
        "b.bias": torch.randn(12, generator=g),
        "c.weight": torch.randn(5, 12, generator=g),
        "c.bias": torch.randn(5, generator=g),
    }


def _rewritten(state, symmetry, activation):
    people = group({k: t[None] for k, t in state.items()}, np.arange(1), Known(activation))
    return {
        k: t[0]
        for k, t in changed(people, SYMMETRIES[symmetry](people, np.random.default_rng(0))).stored.items()
    }


def _match(first, second):
    a, b = network_of("a", first), network_of("b", second)
    return match_networks(a, b, {k: k for k in a.weights})


def test_order_scale_and_sign_are_undone():
    state = _mlp(0)
    for symmetry, activation, coordinates in (
        ("permutation", "relu", "order"),
        ("scale", "relu", "scale"),
        ("sign", "tanh", "sign"),
    ):
        found = _match(state, _rewritten(state, symmetry, activation))
        assert found.exact and found.coordinates == coordinates and found.p < 1e-6, symmetry
        assert (found.moved > 0.5) == (symmetry == "permutation")


def test_a_stranger_does_not_match():
    found = _match(_mlp(0), _mlp(1))
    assert found.p > 0.05 and found.distance > 0.5


def test_parts_of_a_network_are_not_matched():
    a, b = network_of("a", _mlp(0)), network_of("b", _mlp(1))
    assert match_networks(a, b, {"a.weight": "a.weight"}) is None
