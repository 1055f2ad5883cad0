"""A fully connected network: images are flattened, hidden layers are activated and dropped out."""

from itertools import pairwise

from torch import Tensor, nn

from digsite.models.activations import ACTIVATIONS
from digsite.models.configs.mlp import MlpConfig


class Mlp(nn.Module):
    def __init__(self, config: MlpConfig) -> None:
        super().__init__()
        pairs = list(pairwise(config.sizes))
        self.layers = nn.ModuleList(nn.Linear(i, o, bias=config.bias) for i, o in pairs)
        n_hidden = len(pairs) - 1
        n_dropped = n_hidden if config.dropout_layers is None else min(config.dropout_layers, n_hidden)
        self.dropouts = nn.ModuleList(nn.Dropout(config.dropout) for _ in range(n_dropped))
        self.activate = ACTIVATIONS[config.activation]

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for i, layer in enumerate(self.layers[:-1]):
            x = self.activate(layer(x))
            if i < len(self.dropouts):
                x = self.dropouts[i](x)
        return self.layers[-1](x)


def build(config: MlpConfig) -> Mlp:
    return Mlp(config)
