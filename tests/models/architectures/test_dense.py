import copy

import torch

from digsite.models import build
from digsite.models.configs.dense import ResidMlpConfig, TmsConfig


def test_the_formula():
    model = build(TmsConfig(n_features=6, n_hidden=3, n_hidden_layers=1, bias="normal"))
    x, w = torch.rand(4, 6), model.linear1.weight
    torch.testing.assert_close(model(x), torch.relu(x @ w.T @ w + model.linear2.bias))


def test_hidden_layers_are_frozen_identities():
    model = build(TmsConfig(n_hidden_layers=2))
    assert all(torch.equal(layer.weight, torch.eye(2)) for layer in model.hidden_layers)
    assert not any(p.requires_grad for p in model.hidden_layers.parameters())


def test_untied_is_the_same_function_of_two_matrices():
    model = build(TmsConfig(n_hidden_layers=1, bias="normal"), 4)
    separate, x = model.untied(), torch.rand(9, 5)
    torch.testing.assert_close(separate(x), model(x))
    assert {"linear1.weight", "linear2.weight"} <= set(separate.state_dict())
    separate.linear1.weight.data.zero_()
    assert model.linear1.weight.any()


def test_a_copy_is_tied_to_itself():
    model = build(TmsConfig())
    twin = copy.deepcopy(model)
    twin.linear1.weight.data.zero_()
    assert not twin.linear2.weight.any() and model.linear2.weight.any()


def test_the_formula_and_the_fixed_embedding():
    model = build(ResidMlpConfig(n_features=7, d_resid=30, d_mlp=4, n_layers=2))
    x = torch.rand(5, 7)
    residual = x @ model.W_E
    for layer in model.layers:
        residual = residual + torch.relu(residual @ layer.mlp_in.weight.T) @ layer.mlp_out.weight.T
    torch.testing.assert_close(model(x), residual @ model.W_E.T)
    torch.testing.assert_close(model.W_E.norm(dim=1), torch.ones(7))
    assert not model.W_E.requires_grad
