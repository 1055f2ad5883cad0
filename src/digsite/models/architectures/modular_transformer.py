"""Two tokens, attention mixed with a constant pattern, a ReLU layer, no norm; the published checkpoints' names."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.models.attention import Pattern
from digsite.models.configs.modular_transformer import ModularTransformerConfig
from digsite.models.named_weights import NamedWeights


class Attention(NamedWeights):
    def __init__(self, config: ModularTransformerConfig) -> None:
        heads, d = config.n_heads, config.d_model
        size = d // heads
        super().__init__(W_K=(heads, size, d), W_Q=(heads, size, d), W_V=(heads, size, d), W_O=(d, d))
        self.pattern = Pattern()
        self.share = config.attention

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (torch.einsum("hsd,npd->nhps", w, x) for w in (self.W_Q, self.W_K, self.W_V))
        softmax = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
        mixed = (self.pattern(softmax * self.share + (1 - self.share)) @ v).transpose(1, 2).flatten(2)
        return mixed @ self.W_O.T


class FeedForward(NamedWeights):
    def __init__(self, config: ModularTransformerConfig) -> None:
        d, inner = config.d_model, config.d_mlp
        super().__init__(W_in=(inner, d), b_in=(inner,), W_out=(d, inner), b_out=(d,))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.relu(F.linear(x, self.W_in, self.b_in)), self.W_out, self.b_out)


class Block(nn.Module):
    def __init__(self, config: ModularTransformerConfig) -> None:
        super().__init__()
        self.attn, self.mlp = Attention(config), FeedForward(config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        return x + self.mlp(x)


class ModularTransformer(nn.Module):
    def __init__(self, config: ModularTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = NamedWeights(W_E=(config.d_model, config.vocab))
        self.pos_embed = NamedWeights(W_pos=(2, config.d_model))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.unembed = NamedWeights(W_U=(config.d_model, config.vocab))

    def forward(self, pairs: Tensor) -> Tensor:
        """Logits (n, modulus) of the sum of pairs (n, 2) of numbers."""
        if self.config.vocab > self.config.modulus:
            pairs = torch.stack([pairs[:, 0], pairs[:, 1] + self.config.modulus], 1)
        x = F.embedding(pairs, self.embed.W_E.T) + self.pos_embed.W_pos
        for block in self.blocks:
            x = block(x)
        return (x[:, -1] @ self.unembed.W_U)[:, : self.config.modulus]


def build(config: ModularTransformerConfig) -> ModularTransformer:
    return ModularTransformer(config)
