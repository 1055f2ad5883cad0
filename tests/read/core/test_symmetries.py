import numpy as np
import pytest
import read_networks
from hypothesis import given
from hypothesis import strategies as st

from digsite.read.core.population import stack_models
from digsite.read.core.symmetries import SYMMETRIES, change_group
from digsite.read.judge.invariance import function_change

# Which symmetries each network has; everything else must be "not in this network" or no symmetry of it.
EXPECTED = {
    "relu mlp": {"permutation", "scale"},
    "tanh mlp": {"permutation", "sign"},
    "gelu mlp": {"permutation"},
    "small cnn": {"permutation", "scale"},
    "wild cnn": {"permutation", "scale", "sign"},
    "flat cnn": {"permutation", "scale"},
    "gru": {"permutation"},
    "post-norm transformer": {"permutation", "heads", "head bases", "scale"},
    "pre-norm transformer": {"permutation", "heads", "head bases", "scale", "norm folding"},
    "llama with shared keys": {"permutation", "heads"},
    "gpt2": {"permutation", "heads", "head bases"},
    "normed cnn": {"permutation", "scale", "norm folding"},
    "low rank": {"permutation", "scale", "low-rank basis"},
}


@pytest.mark.parametrize("name", read_networks.ALL)
def test_each_network_has_its_symmetries_and_no_others(name):
    group = stack_models([read_networks.make(name)]).groups[0]
    found = set()
    for symmetry, change in SYMMETRIES.items():
        tensors = change(group, np.random.default_rng(1))
        if tensors is not None and function_change(group, change_group(group, tensors), 0) < 1e-4:
            found.add(symmetry)
            moved = any((tensors[n] != t).any() for n, t in group.tensors.items())
            assert moved, f"{symmetry} changed nothing"
    assert found == EXPECTED[name]


@given(st.integers(0, 500))
def test_scales_of_any_size_leave_a_relu_network_alone(seed):
    group = stack_models([read_networks.make("relu mlp")]).groups[0]
    tensors = SYMMETRIES["scale"](group, np.random.default_rng(seed))
    assert tensors is not None
    assert function_change(group, change_group(group, tensors), seed) < 1e-4


def test_scaling_a_tanh_network_is_seen_to_be_no_symmetry():
    relu = stack_models([read_networks.make("relu mlp")]).groups[0]
    tanh = stack_models([read_networks.make("tanh mlp")]).groups[0]
    tensors = SYMMETRIES["scale"](relu, np.random.default_rng(0))
    assert tensors is not None
    assert function_change(tanh, change_group(tanh, tensors), 0) > 1e-3
