import torch

from digsite.models import build
from digsite.models.configs.resid_mlp import ResidMlpConfig


def test_the_formula_and_the_fixed_embedding():
    model = build(ResidMlpConfig(n_features=7, d_resid=30, d_mlp=4, n_layers=2))
    x = torch.rand(5, 7)
    residual = x @ model.W_E
    for layer in model.layers:
        residual = residual + torch.relu(residual @ layer.mlp_in.weight.T) @ layer.mlp_out.weight.T
    torch.testing.assert_close(model(x), residual @ model.W_E.T)
    torch.testing.assert_close(model.W_E.norm(dim=1), torch.ones(7))
    assert not model.W_E.requires_grad
