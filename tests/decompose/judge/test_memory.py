"""What a step keeps, against what must be there."""

import pytest
import torch

from digsite.decompose.config import DecomposeConfig
from digsite.decompose.core.fit import Problem
from digsite.decompose.judge import memory
from digsite.models import build, parse

LM = parse({"kind": "llama", "vocab": 20, "context": 16, "d_model": 16, "d_mlp": 24, "n_layers": 1})


@pytest.fixture(scope="module")
def table():
    def tokens(generator):
        return torch.randint(20, (4, 16), generator=generator)

    problem = Problem([build(LM, 0)], ["model.layers.*.mlp.*"], tokens)
    losses = {"a": {"kind": "recon"}, "b": {"kind": "recon", "routing": "layerwise"}}
    config = DecomposeConfig.model_validate({"C": 40, "compare": "kl", "losses": losses})
    return memory.by_components(problem, config, [20, 40])


def test_parameters_are_counted_exactly(table):
    per_component = 3 * (16 + 24) + 3 * (16 + 16 + 16 + 1)  # V, U and a gate with 16 hidden units
    assert table["parameters_mb"][-1] == pytest.approx(40 * per_component * 4 / 1e6)
    assert table["optimizer_mb"] == pytest.approx([2 * mb for mb in table["parameters_mb"]])


def test_kept_activations_grow_with_components_and_shrink_by_recomputing(table):
    rows = dict(zip(zip(table["C"], table["recompute"]), table["kept_mb"]))
    gates = 3 * 4 * 16 * 40 * 16 * 4 / 1e6  # modules, positions, components, hidden units, bytes
    assert rows[40, False] > gates
    assert 1.5 < rows[40, False] / rows[20, False] < 2.1
    assert rows[40, True] < 0.5 * rows[40, False]
