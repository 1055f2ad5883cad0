import numpy as np
import pytest
import torch

from digsite.read.judge.mixtures import find_grafts, find_merges
from digsite.read.judge.relation import relate_networks
from digsite.read.subjects.network import network_of

G = torch.Generator().manual_seed(0)
ROOT = {f"{i}.weight": torch.randn(14, 14, generator=G) for i in range(4)}


def _child(scale=0.2):
    return {k: t + scale * torch.randn(t.shape, generator=G) for k, t in ROOT.items()}


def _merges(states):
    networks = [network_of(str(i), s) for i, s in enumerate(states)]
    distances = np.full((len(states), len(states)), 0.3)
    np.fill_diagonal(distances, 0)
    return find_merges(networks, distances, [frozenset()] * len(states))


def test_shares_of_two_and_of_three_parents():
    a, b, c = _child(), _child(), _child()
    two = {k: 0.7 * a[k] + 0.3 * b[k] for k in a}
    three = {k: 0.5 * a[k] + 0.3 * b[k] + 0.2 * c[k] for k in a}
    found = {m.child: m for m in _merges([ROOT, a, b, c, two, three])}
    assert set(found) == {4, 5}
    assert found[4].parents == (1, 2) and found[4].weights == pytest.approx((0.7, 0.3), abs=1e-3)
    assert found[5].parents == (1, 2, 3) and found[5].weights == pytest.approx((0.5, 0.3, 0.2), abs=1e-3)


def test_siblings_are_no_average():
    assert _merges([ROOT, _child(), _child(), _child()]) == []


def test_layers_of_two_networks():
    other = {k: torch.randn(t.shape, generator=G) for k, t in ROOT.items()}
    mixed = {k: (other if k in ("2.weight", "3.weight") else ROOT)[k] for k in ROOT}
    networks = [network_of(n, s) for n, s in (("root", ROOT), ("other", other), ("mixed", mixed))]
    relations = {(i, j): relate_networks(networks[i], networks[j]) for i in range(3) for j in range(i + 1, 3)}
    (found,) = find_grafts(networks, relations, 0.05)
    assert found.child == 2 and set(found.parents) == {0, 1} and found.weights == pytest.approx((0.5, 0.5))
