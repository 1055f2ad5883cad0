import numpy as np
import pytest
import torch

from digsite.read.judge.edge_features import DIRECTION, KIND, direction_features, draw_portrait, kind_features
from digsite.read.subjects.network import network_of


def _network(seed, scale=1.0):
    g = torch.Generator().manual_seed(seed)
    return network_of(
        "n",
        {f"{i}.weight": scale * torch.randn(12, 12, generator=g) for i in range(3)} | {"b": torch.ones(4)},
    )


def test_directions_change_their_sign_when_turned():
    a, b = _network(0), _network(1, 1.5)
    one, other = draw_portrait(a), draw_portrait(b)
    ahead, back = direction_features(a, b, one, other), direction_features(b, a, other, one)
    assert len(ahead) == len(DIRECTION) and ahead == pytest.approx(-back, abs=1e-9)
    assert ahead[0] == pytest.approx(np.log(1.5), abs=0.2)


def test_a_change_of_rank_one_is_seen_as_such():
    a = _network(0)
    other = {**a.weights, "0.weight": a.weights["0.weight"] + torch.outer(torch.ones(12), torch.ones(12))}
    found = dict(zip(KIND, kind_features(a, network_of("n", other)), strict=True))
    assert np.isfinite(list(found.values())).all() and found["rank_of_change"] < 0
