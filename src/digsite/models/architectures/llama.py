"""A Llama in plain PyTorch, with Hugging Face's names for modules and parameters."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.models.attention import Pattern, attend, join_heads, split_heads
from digsite.models.configs.llama import LlamaConfig


class RmsNorm(nn.Module):
    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def reset_parameters(self) -> None:
        nn.init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        exact = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        normed = exact * torch.rsqrt(exact.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * normed.to(x.dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor, pairs: bool) -> Tensor:
    """Rotate (..., positions, size) by angles (positions, size / 2)."""
    a, b = (x[..., 0::2], x[..., 1::2]) if pairs else x.chunk(2, -1)
    turned = a * cos - b * sin, b * cos + a * sin
    return torch.stack(turned, -1).flatten(-2) if pairs else torch.cat(turned, -1)


def angles(length: int, config: LlamaConfig, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines (positions, head size / 2)."""
    exponent = (
        torch.arange(0, config.head_size, 2, device=like.device, dtype=torch.float32) / config.head_size
    )
    position = torch.arange(length, device=like.device, dtype=torch.float32)
    angle = torch.outer(position, 1.0 / config.rope_theta**exponent)
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


class Attention(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        inner, shared = config.n_heads * config.head_size, config.n_kv_heads * config.head_size
        bias = config.attention_bias
        self.q_proj = nn.Linear(config.d_model, inner, bias=bias)
        self.k_proj = nn.Linear(config.d_model, shared, bias=bias)
        self.v_proj = nn.Linear(config.d_model, shared, bias=bias)
        self.o_proj = nn.Linear(inner, config.d_model, bias=bias)
        self.pattern = Pattern()

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        c = self.config
        q = rotate(split_heads(self.q_proj(x), c.n_heads), cos, sin, c.rope == "pairs")
        k = rotate(split_heads(self.k_proj(x), c.n_kv_heads), cos, sin, c.rope == "pairs")
        v = split_heads(self.v_proj(x), c.n_kv_heads)
        if c.n_kv_heads < c.n_heads:
            k, v = (t.repeat_interleave(c.n_heads // c.n_kv_heads, dim=-3) for t in (k, v))
        return self.o_proj(join_heads(attend(q, k, v, self.pattern, causal=True)))


class FeedForward(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.d_model, config.d_mlp, bias=config.mlp_bias)
        self.up_proj = nn.Linear(config.d_model, config.d_mlp, bias=config.mlp_bias)
        self.down_proj = nn.Linear(config.d_mlp, config.d_model, bias=config.mlp_bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.input_layernorm = RmsNorm(config.d_model, config.norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RmsNorm(config.d_model, config.norm_eps)
        self.mlp = FeedForward(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab, config.d_model)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.n_layers))
        self.norm = RmsNorm(config.d_model, config.norm_eps)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed_tokens(tokens)
        cos, sin = angles(tokens.shape[-1], self.config, x)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.norm(x)


class Llama(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        self.lm_head = nn.Linear(config.d_model, config.vocab, bias=False)
        if config.tied:
            self.lm_head.weight = self.model.embed_tokens.weight

    def reset_parameters(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (n, positions, vocab) of the token after each position."""
        return self.lm_head(self.model(tokens))


def build(config: LlamaConfig) -> Llama:
    return Llama(config)
