import itertools

import torch

from digsite.read.judge.relation import order_free_gap, relate_networks
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
