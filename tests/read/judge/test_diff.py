import copy

import numpy as np
import pytest
import read_networks
import torch

from digsite.base.errors import UsageError
from digsite.read.core.population import stack_models
from digsite.read.core.symmetries import SYMMETRIES, change_group
from digsite.read.judge.diff import compare_checkpoints


def _pair(symmetries):
    model = read_networks.make("relu mlp")
    other = copy.deepcopy(model)
    group = stack_models([model]).groups[0]
    for name in symmetries:
        group = change_group(group, SYMMETRIES[name](group, np.random.default_rng(0)))
    other.load_state_dict({k: t[0] for k, t in group.stored.items()})
    return model, other


@pytest.mark.parametrize("symmetries", [["permutation"], ["scale"], ["permutation", "scale"]])
def test_re_parameterization_is_told_from_change(symmetries):
    found = compare_checkpoints(*_pair(symmetries))
    assert found.verdict.startswith("a mere re-parameterization")
    assert found.distance > 0.1 and found.matched < 1e-4


def test_change_in_other_coordinates_too():
    model, other = _pair(["permutation"])
    with torch.no_grad():
        other.layers[0].weight.add_(0.02 * torch.randn(12, 16))
    assert compare_checkpoints(model, other).verdict == "changed, and partly in other coordinates"


def test_rank_of_a_low_rank_update():
    model, other = _pair([])
    assert compare_checkpoints(model, other).verdict == "identical weights"
    with torch.no_grad():
        other.layers[0].weight.add_(torch.outer(torch.randn(12), torch.randn(16)))
    table = compare_checkpoints(model, other).layers.set_index("layer")
    assert table.loc["layers.0.weight", "rank_of_change"] == pytest.approx(1, abs=1e-4)
    assert table.loc["layers.1.weight", "relative_change"] == 0


def test_shapes_must_agree():
    with pytest.raises(UsageError, match="differ in shape"):
        compare_checkpoints(read_networks.make("relu mlp"), torch.nn.Linear(3, 2))
