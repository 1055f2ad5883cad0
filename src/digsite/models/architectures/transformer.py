"""Patches or tokens, encoder blocks, the mean over positions, one linear layer."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.models.activations import ACTIVATIONS
from digsite.models.attention import SelfAttention
from digsite.models.configs.transformer import TransformerConfig


class EncoderBlock(nn.Module):
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        d = config.d_model
        self.attn = SelfAttention(d, config.n_heads, causal=False)
        self.mlp_in, self.mlp_out = nn.Linear(d, config.d_mlp), nn.Linear(config.d_mlp, d)
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.dropout1, self.dropout2 = nn.Dropout(config.dropout), nn.Dropout(config.dropout)
        self.activate = ACTIVATIONS[config.activation]
        self.post = config.norm == "post"

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.mlp_out(self.activate(self.mlp_in(x)))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if self.post:
            x = self.norm1(x + self.dropout1(self.attn(x, mask)))
            return self.norm2(x + self.dropout2(self.feed_forward(x)))
        x = x + self.dropout1(self.attn(self.norm1(x), mask))
        return x + self.dropout2(self.feed_forward(self.norm2(x)))


class Transformer(nn.Module):
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        channels, height, width = config.image
        n_positions = config.length if config.vocab else height * width // config.patch**2
        pixels = channels * config.patch**2
        self.embed = (
            nn.Embedding(config.vocab, config.d_model) if config.vocab else nn.Linear(pixels, config.d_model)
        )
        self.position = nn.Parameter(torch.empty(n_positions, config.d_model))
        self.blocks = nn.ModuleList(EncoderBlock(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model) if config.norm == "pre" else nn.Identity()
        self.head = nn.Linear(config.d_model, config.n_classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.position, std=0.02)
        if isinstance(self.embed, nn.Embedding):
            nn.init.normal_(self.embed.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        mask = None if self.config.pad is None or not self.config.vocab else x != self.config.pad
        x = self.embed(x) if self.config.vocab else self.embed(self.patches(x))
        x = x + self.position[: x.shape[-2]]
        for block in self.blocks:
            x = block(x, mask)
        return self.head(_mean(self.norm(x), mask))

    def patches(self, x: Tensor) -> Tensor:
        """(n, c, h, w) to (n, patches, c * side * side)."""
        return F.unfold(x, self.config.patch, stride=self.config.patch).transpose(-1, -2)


def _mean(x: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return x.mean(-2)
    weight = mask.unsqueeze(-1).to(x.dtype)
    return (x * weight).sum(-2) / weight.sum(-2)


def build(config: TransformerConfig) -> Transformer:
    return Transformer(config)
