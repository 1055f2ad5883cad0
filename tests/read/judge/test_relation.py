import itertools

import numpy as np
import torch

from digsite.read.core.population import Known, group_networks
from digsite.read.core.symmetries import SYMMETRIES, change_group
from digsite.read.judge.relation import match_networks, order_free_gap, relate_networks
from digsite.read.subjects.network import network_of


def _network(seed, like=None, share=1.0, sizes=(30, 20, 12, 6)):
    g = torch.Generator().manual_seed(seed)
    fresh = {
        f"{i}.weight": torch.randn(o, n, generator=g) for i, (n, o) in enumerate(itertools.pairwise(sizes))
    }
    return {k: t + share * like[k] if like else t for k, t in fresh.items()}


def test_a_far_descendant_is_related_and_a_stranger_is_not():
    root = _network(0)
    child, stranger = (network_of("x", s) for s in (_network(1, root, 0.5), _network(2)))
    near, far = (relate_networks(network_of("r", root), n) for n in (child, stranger))
    assert near.related and near.how == "direct" and near.p < 1e-6 and 0.4 < near.distance < 1
    assert not far.related and far.how == "none" and far.p > 0.05


def test_other_architectures_are_excluded_with_the_reason():
    found = relate_networks(network_of("a", _network(0)), network_of("b", _network(0, sizes=(31, 21, 13))))
    assert found.how == "excluded" and "different architectures" in found.reason and not found.related


def test_equal_networks_are_related_also_where_nothing_can_be_permuted():
    state = {"w": torch.randn(2, 2)}
    assert relate_networks(network_of("a", state), network_of("b", state)).related


def test_rescaled_copies_count_as_near():
    state = _network(0)
    rows = torch.rand(20, 1) + 0.5
    other = {**state, "0.weight": state["0.weight"] * rows, "1.weight": state["1.weight"] / rows.T}
    found = relate_networks(network_of("a", state), network_of("b", other))
    assert found.rescaled and found.distance == 0.01


def test_the_order_free_gap_is_nothing_for_another_order_and_something_for_a_stranger():
    state = _network(0)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    moved = {**state, "0.weight": state["0.weight"][order], "1.weight": state["1.weight"][:, order]}
    names = {k: k for k in state}
    a, b, c = (network_of("n", s) for s in (state, moved, _network(1)))
    assert order_free_gap(a, b, names) < 1e-6 < 0.02 < order_free_gap(a, c, names)


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
    people = group_networks({k: t[None] for k, t in state.items()}, np.arange(1), Known(activation))
    return {
        k: t[0]
        for k, t in change_group(
            people, SYMMETRIES[symmetry](people, np.random.default_rng(0))
        ).stored.items()
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
