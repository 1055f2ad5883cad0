"""x W_E, then r += mlp_out(act(mlp_in(r))) in each layer, read off by W_U = W_E^T."""

import torch
from torch import Tensor, nn

from digsite.models.activations import ACTIVATIONS
from digsite.models.configs.resid_mlp import ResidMlpConfig


class ResidLayer(nn.Module):
    def __init__(self, config: ResidMlpConfig) -> None:
        super().__init__()
        self.mlp_in = nn.Linear(config.d_resid, config.d_mlp, bias=config.bias)
        self.mlp_out = nn.Linear(config.d_mlp, config.d_resid, bias=config.bias)
        self.activate = ACTIVATIONS[config.activation]

    def forward(self, residual: Tensor) -> Tensor:
        return residual + self.mlp_out(self.activate(self.mlp_in(residual)))


class ResidMlp(nn.Module):
    def __init__(self, config: ResidMlpConfig) -> None:
        super().__init__()
        self.config = config
        self.W_E = nn.Parameter(torch.empty(config.n_features, config.d_resid), config.train_embedding)
        self.layers = nn.ModuleList(ResidLayer(config) for _ in range(config.n_layers))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        with torch.no_grad():
            rows = torch.randn(self.W_E.shape)
            self.W_E.copy_(rows / rows.norm(dim=-1, keepdim=True))

    def forward(self, x: Tensor) -> Tensor:
        residual = x @ self.W_E
        for layer in self.layers:
            residual = layer(residual)
        return residual @ self.W_E.T


def build(config: ResidMlpConfig) -> ResidMlp:
    return ResidMlp(config)
