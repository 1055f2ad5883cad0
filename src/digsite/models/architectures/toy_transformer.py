"""Pre-norm blocks with one matrix per head, TransformerLens's names and shapes, a linear read-out at every position."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.models.attention import Pattern, attend
from digsite.models.configs.toy_transformer import ToyTransformerConfig
from digsite.models.named_weights import NamedWeights


class Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def reset_parameters(self) -> None:
        nn.init.ones_(self.w)
        nn.init.zeros_(self.b)

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.w, self.b)


class Attention(NamedWeights):
    def __init__(self, config: ToyTransformerConfig) -> None:
        h, d, s = config.n_heads, config.d_model, config.d_head
        maps = {f"W_{x}": (h, d, s) for x in "QKV"} | {f"b_{x}": (h, s) for x in "QKV"}
        super().__init__(fan_in=-2, **maps, W_O=(h, s, d), b_O=(d,))
        self.pattern = Pattern()
        self.causal = config.causal

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        maps = ((self.W_Q, self.b_Q), (self.W_K, self.b_K), (self.W_V, self.b_V))
        q, k, v = (torch.einsum("npd,hds->nhps", x, w) + b[:, None, :] for w, b in maps)
        mixed = attend(q, k, v, self.pattern, causal=self.causal, mask=mask)
        return torch.einsum("nhps,hsd->npd", mixed, self.W_O) + self.b_O


class FeedForward(NamedWeights):
    def __init__(self, config: ToyTransformerConfig) -> None:
        d, m = config.d_model, config.d_mlp
        super().__init__(fan_in=-2, W_in=(d, m), b_in=(m,), W_out=(m, d), b_out=(d,))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x @ self.W_in + self.b_in) @ self.W_out + self.b_out


class Block(nn.Module):
    def __init__(self, config: ToyTransformerConfig) -> None:
        super().__init__()
        self.ln1, self.attn = Norm(config.d_model), Attention(config)
        self.ln2 = Norm(config.d_model) if config.d_mlp else None
        self.mlp = FeedForward(config) if config.d_mlp else None

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.attn(self.ln1(x), mask)
        return x if self.ln2 is None or self.mlp is None else x + self.mlp(self.ln2(x))


class ToyTransformer(nn.Module):
    def __init__(self, config: ToyTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = NamedWeights(W_E=(config.vocab, config.d_model))
        self.pos_embed = NamedWeights(W_pos=(config.context, config.d_model))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.ln_final = Norm(config.d_model)
        self.unembed = NamedWeights(
            fan_in=-2, W_U=(config.d_model, config.n_outputs), b_U=(config.n_outputs,)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Outputs (n, positions, n_outputs)."""
        mask = None if self.config.pad is None else tokens != self.config.pad
        x = F.embedding(tokens, self.embed.W_E) + self.pos_embed.W_pos[: tokens.shape[-1]]
        for block in self.blocks:
            x = block(x, mask)
        return self.ln_final(x) @ self.unembed.W_U + self.unembed.b_U


def build(config: ToyTransformerConfig) -> ToyTransformer:
    return ToyTransformer(config)
