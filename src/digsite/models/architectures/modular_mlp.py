"""Two embeddings, joined, through one or two ReLU layers; the published checkpoints' names."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.models.configs.modular_mlp import ModularMlpConfig


class ModularMlp(nn.Module):
    def __init__(self, config: ModularMlpConfig) -> None:
        super().__init__()
        self.config = config
        joined = config.d_embed * (2 if config.join == "concatenate" else 1)
        self.embed = nn.Embedding(config.modulus, config.d_embed)
        self.l1 = nn.Linear(joined, config.d_hidden if config.n_hidden == 2 else config.d_out)
        self.l2 = nn.Linear(config.d_hidden, config.d_out) if config.n_hidden == 2 else None
        self.unembed = nn.Linear(config.d_out, config.modulus, bias=False)

    def forward(self, pairs: Tensor) -> Tensor:
        """Logits (n, modulus) of the sum of pairs (n, 2) of numbers."""
        a, b = self.embed(pairs).unbind(-2)
        x = F.relu(self.l1(torch.cat([a, b], -1) if self.config.join == "concatenate" else a + b))
        if self.l2 is not None:
            x = F.relu(self.l2(x))
        return self.unembed(x)


def build(config: ModularMlpConfig) -> ModularMlp:
    return ModularMlp(config)
