"""A decomposition that is exactly right, built by hand for the network whose parts are known."""

import pytest
import torch

from digsite.decompose.config import DecomposeConfig
from digsite.decompose.core.decomposition import Decomposition
from digsite.decompose.core.scene import Plan
from digsite.decompose.core.target import Target
from digsite.decompose.subjects import targets


@pytest.fixture
def exact() -> Decomposition:
    """Component c of either layer is neuron c; component 4 is empty; importance is 1 where the neuron is on."""
    target = Target(targets.build_pairs(), ["0", "2"])
    params = {}
    for name, site in target.sites.items():
        weight = site.get_matrix()
        params[f"{name}/V"] = torch.cat([weight, torch.zeros(len(weight), 1)], 1)
        params[f"{name}/U"] = torch.cat([torch.eye(4), torch.zeros(1, 4)])
        params[f"gate/{name}/slope"] = torch.full((5,), 1e4)
        params[f"gate/{name}/bias"] = torch.zeros(5)
    config = DecomposeConfig.model_validate({"C": 5, "gate": {"kind": "linear"}})
    plan = Plan(target, {"0": "0", "2": "2"}, config.gate, config.sigmoid, config.delta, config.compare)
    return Decomposition(plan, params, config, {"modules": ["0", "2"], "identity": [], "output": ""})


@pytest.fixture
def batch() -> torch.Tensor:
    return targets.draw_pairs(torch.Generator().manual_seed(0))[:200]
