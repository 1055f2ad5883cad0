"""A gated recurrent unit over a sequence and one linear layer on its last state."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.models.configs.gru import GruConfig


class GruLayer(nn.Module):
    """torch.nn.GRU of one layer, with its names and order of gates; that one has no rule for torch.func.vmap."""

    def __init__(self, n_inputs: int, n_hidden: int) -> None:
        super().__init__()
        self.weight_ih_l0 = nn.Parameter(torch.empty(3 * n_hidden, n_inputs))
        self.weight_hh_l0 = nn.Parameter(torch.empty(3 * n_hidden, n_hidden))
        self.bias_ih_l0 = nn.Parameter(torch.empty(3 * n_hidden))
        self.bias_hh_l0 = nn.Parameter(torch.empty(3 * n_hidden))
        self.n_hidden = n_hidden
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(self.n_hidden), 1 / math.sqrt(self.n_hidden))

    def forward(self, x: Tensor) -> Tensor:
        """(n, steps, inputs) to all states (n, steps, hidden)."""
        inputs = F.linear(x, self.weight_ih_l0, self.bias_ih_l0)
        state = torch.zeros_like(inputs[:, 0, : self.n_hidden])
        states = []
        for step in inputs.unbind(1):
            r_x, z_x, n_x = step.chunk(3, -1)
            r_h, z_h, n_h = F.linear(state, self.weight_hh_l0, self.bias_hh_l0).chunk(3, -1)
            update = torch.sigmoid(z_x + z_h)
            new = torch.tanh(n_x + torch.sigmoid(r_x + r_h) * n_h)
            state = new + update * (state - new)
            states.append(state)
        return torch.stack(states, 1)


class GruClassifier(nn.Module):
    def __init__(self, config: GruConfig) -> None:
        super().__init__()
        self.embed = nn.Embedding(config.vocab, config.n_inputs) if config.vocab else nn.Identity()
        self.gru = GruLayer(config.n_inputs, config.n_hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.n_hidden, config.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (n, c, h, w) are read row by row, their channels side by side."""
        x = x.transpose(1, 2).flatten(2) if x.ndim == 4 else x
        return self.head(self.dropout(self.gru(self.embed(x))[:, -1]))


def build(config: GruConfig) -> GruClassifier:
    return GruClassifier(config)
