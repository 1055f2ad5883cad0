"""The toy models in NumPy answer as the modules of the lab do."""

import numpy as np
import pytest
import torch

from digsite.models import build, parse
from digsite.serve import toys

CONFIGS = [
    {"kind": "tms", "n_features": 5, "n_hidden": 2},
    {"kind": "tms", "n_features": 6, "n_hidden": 3, "n_hidden_layers": 2, "tied": False, "hidden": "random"},
    {"kind": "resid_mlp", "n_features": 7, "d_resid": 12, "d_mlp": 5, "n_layers": 2},
    {
        "kind": "resid_mlp",
        "n_features": 7,
        "d_resid": 12,
        "d_mlp": 5,
        "n_layers": 1,
        "activation": "gelu",
        "bias": True,
    },
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c['kind']}-{len(c)}")
def test_the_same_outputs(config):
    model = build(parse(config)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    x = torch.randn(20, config["n_features"], dtype=torch.float64)
    settings = model.config.model_dump(mode="json")
    assert toys.runs(config["kind"], settings)
    found = toys.forward(config["kind"], settings, weights, x.numpy())
    assert np.allclose(found, model(x).detach().numpy(), atol=1e-5)


def test_other_models_are_left_to_the_lab():
    assert not toys.runs("llama", {})
    assert not toys.runs("resid_mlp", {"activation": "swish"})
