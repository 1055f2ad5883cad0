"""A GPT-2 in plain PyTorch, with Hugging Face's names; its maps are linear layers, so weights are (out, in)."""

import torch
from torch import Tensor, nn

from digsite.models.activations import ACTIVATIONS
from digsite.models.attention import Pattern, attend, join_heads, split_heads
from digsite.models.configs.gpt2 import Gpt2Config


class Attention(nn.Module):
    def __init__(self, config: Gpt2Config) -> None:
        super().__init__()
        self.c_attn = nn.Linear(config.d_model, 3 * config.d_model)
        self.c_proj = nn.Linear(config.d_model, config.d_model)
        self.pattern = Pattern()
        self.n_heads = config.n_heads

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (split_heads(part, self.n_heads) for part in self.c_attn(x).chunk(3, -1))
        return self.c_proj(join_heads(attend(q, k, v, self.pattern, causal=True)))


class FeedForward(nn.Module):
    def __init__(self, config: Gpt2Config) -> None:
        super().__init__()
        inner = config.d_mlp or 4 * config.d_model
        self.c_fc = nn.Linear(config.d_model, inner)
        self.c_proj = nn.Linear(inner, config.d_model)
        self.activate = ACTIVATIONS[config.activation]

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(self.activate(self.c_fc(x)))


class Block(nn.Module):
    def __init__(self, config: Gpt2Config) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.d_model, config.norm_eps)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.d_model, config.norm_eps)
        self.mlp = FeedForward(config)
        self.dropout1, self.dropout2 = nn.Dropout(config.dropout), nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout1(self.attn(self.ln_1(x)))
        return x + self.dropout2(self.mlp(self.ln_2(x)))


class Decoder(nn.Module):
    def __init__(self, config: Gpt2Config) -> None:
        super().__init__()
        self.wte = nn.Embedding(config.vocab, config.d_model)
        self.wpe = nn.Embedding(config.context, config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.ln_f = nn.LayerNorm(config.d_model, config.norm_eps)

    def forward(self, tokens: Tensor) -> Tensor:
        position = torch.arange(tokens.shape[-1], device=tokens.device)
        x = self.dropout(self.wte(tokens) + self.wpe(position))
        for block in self.h:
            x = block(x)
        return self.ln_f(x)


class Gpt2(nn.Module):
    def __init__(self, config: Gpt2Config) -> None:
        super().__init__()
        self.config = config
        self.transformer = Decoder(config)
        self.lm_head = nn.Linear(config.d_model, config.vocab, bias=False)
        if config.tied:
            self.lm_head.weight = self.transformer.wte.weight

    def reset_parameters(self) -> None:
        """GPT-2's: 0.02, and less by the number of residual additions for the maps that write to the stream."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                writes = name.endswith("c_proj")
                nn.init.normal_(module.weight, std=0.02 / (2 * self.config.n_layers) ** (0.5 * writes))
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (n, positions, vocab) of the token after each position."""
        return self.lm_head(self.transformer(tokens))


def build(config: Gpt2Config) -> Gpt2:
    return Gpt2(config)
