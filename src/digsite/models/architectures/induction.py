"""Embedding, causal attention layers and nothing else, read out by a linear map."""

import torch
from torch import Tensor, nn

from digsite.models.attention import Pattern, attend, join_heads, split_heads
from digsite.models.configs.induction import InductionConfig


class AttentionLayer(nn.Module):
    def __init__(self, config: InductionConfig) -> None:
        super().__init__()
        d = config.d_model
        self.norm = nn.LayerNorm(d) if config.norm else nn.Identity()
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(d, d, bias=False) for _ in range(4))
        self.pattern = Pattern()
        self.n_heads = config.n_heads

    def forward(self, x: Tensor, position: Tensor | float) -> Tensor:
        """`position` is seen by queries and keys only."""
        normed = self.norm(x)
        q = split_heads(self.q_proj(normed + position), self.n_heads)
        k = split_heads(self.k_proj(normed + position), self.n_heads)
        v = split_heads(self.v_proj(normed), self.n_heads)
        return x + self.o_proj(join_heads(attend(q, k, v, self.pattern, causal=True)))


class Induction(nn.Module):
    def __init__(self, config: InductionConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab, config.d_model)
        self.position = nn.Embedding(config.context, config.d_model)
        self.layers = nn.ModuleList(AttentionLayer(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model) if config.norm else nn.Identity()
        self.unembed = nn.Linear(config.d_model, config.vocab, bias=False)

    def reset_parameters(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=self.config.d_model**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (n, positions, vocab) of the token after each position."""
        x = self.embed(tokens)
        position = self.position(torch.arange(tokens.shape[-1], device=tokens.device))
        if self.config.position == "residual":
            x, position = x + position, 0.0
        for layer in self.layers:
            x = layer(x, position)
        return self.unembed(self.norm(x))


def build(config: InductionConfig) -> Induction:
    return Induction(config)
