"""Language models in the shapes of GPT-2 and Llama.

Written out in plain layers, although transformers has both: its maps of GPT-2 are `Conv1D` with weights the
other way round, and its attention hides the pattern behind an implementation that is chosen when it runs. Here
every map is an `nn.Linear` with weight (out, in), and the pattern passes through a module that can be hooked.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.models.architectures import Architecture
from digsite.models.configs.language import Gpt2Config, LlamaConfig
from digsite.models.parts import ACTIVATIONS, Pattern, attend_heads, join_heads, split_heads


class Gpt2Attention(nn.Module):
    """Causal self-attention; queries, keys and values come from one map of three times the width, as the
    checkpoints have it.
    """

    def __init__(self, config: Gpt2Config) -> None:
        super().__init__()
        self.c_attn = nn.Linear(config.d_model, 3 * config.d_model)
        self.c_proj = nn.Linear(config.d_model, config.d_model)
        self.pattern = Pattern()
        self.n_heads = config.n_heads

    def forward(self, x: Tensor) -> Tensor:
        """(n, positions, d_model) to the same."""
        q, k, v = (split_heads(part, self.n_heads) for part in self.c_attn(x).chunk(3, -1))
        return self.c_proj(join_heads(attend_heads(q, k, v, self.pattern, causal=True)))


class Gpt2FeedForward(nn.Module):
    """Two maps with a nonlinearity between; four times as wide inside, unless the config says otherwise."""

    def __init__(self, config: Gpt2Config) -> None:
        super().__init__()
        inner = config.d_mlp or 4 * config.d_model
        self.c_fc = nn.Linear(config.d_model, inner)
        self.c_proj = nn.Linear(inner, config.d_model)
        self.activate = ACTIVATIONS[config.activation]

    def forward(self, x: Tensor) -> Tensor:
        """(n, positions, d_model) to the same, each position by itself."""
        return self.c_proj(self.activate(self.c_fc(x)))


class Gpt2Block(nn.Module):
    """Norms come before each sublayer, so the residual stream itself is never normalized until the end."""

    def __init__(self, config: Gpt2Config) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.d_model, config.norm_eps)
        self.attn = Gpt2Attention(config)
        self.ln_2 = nn.LayerNorm(config.d_model, config.norm_eps)
        self.mlp = Gpt2FeedForward(config)
        self.dropout1, self.dropout2 = nn.Dropout(config.dropout), nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(n, positions, d_model) to the same."""
        x = x + self.dropout1(self.attn(self.ln_1(x)))
        return x + self.dropout2(self.mlp(self.ln_2(x)))


class Gpt2Decoder(nn.Module):
    """Everything but the output map, under the name `transformer` as in the checkpoints."""

    def __init__(self, config: Gpt2Config) -> None:
        super().__init__()
        self.wte = nn.Embedding(config.vocab, config.d_model)
        self.wpe = nn.Embedding(config.context, config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.h = nn.ModuleList(Gpt2Block(config) for _ in range(config.n_layers))
        self.ln_f = nn.LayerNorm(config.d_model, config.norm_eps)

    def forward(self, tokens: Tensor) -> Tensor:
        """Hidden states (n, positions, d_model) of tokens (n, positions)."""
        position = torch.arange(tokens.shape[-1], device=tokens.device)
        x = self.dropout(self.wte(tokens) + self.wpe(position))
        for block in self.h:
            x = block(x)
        return self.ln_f(x)


class Gpt2(nn.Module, Architecture):
    """A GPT-2 in plain PyTorch, with Hugging Face's names; its maps are linear layers, so weights are (out, in)."""

    NAME = "gpt2"

    def __init__(self, config: Gpt2Config) -> None:
        super().__init__()
        self.config = config
        self.transformer = Gpt2Decoder(config)
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


class RmsNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps), times a learned weight: no mean is taken off and no bias added (arXiv
    1910.07467).
    """

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def reset_parameters(self) -> None:
        """Ones: the norm then changes lengths alone."""
        nn.init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Over the last axis, in float32 for half precision: a mean of squares would overflow float16 from 256
        on.
        """
        exact = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        normed = exact * torch.rsqrt(exact.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * normed.to(x.dtype)


def rotate_positions(x: Tensor, cos: Tensor, sin: Tensor, pairs: bool) -> Tensor:
    """Rotate (..., positions, size) by compute_angles (positions, size / 2).

    The rotation makes the product of a query and a key depend on their distance alone. Which numbers are
    rotated together is a matter of the checkpoint: neighbors (`pairs`, the original files) or i and i + size /
    2 (Hugging Face). Both are the same function after a permutation of the rows of the query and key maps.
    """
    a, b = (x[..., 0::2], x[..., 1::2]) if pairs else x.chunk(2, -1)
    turned = a * cos - b * sin, b * cos + a * sin
    return torch.stack(turned, -1).flatten(-2) if pairs else torch.cat(turned, -1)


def compute_angles(length: int, config: LlamaConfig, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines (positions, head size / 2).

    The angle of dimension i at position p is p / theta^(2 i / head size). In float32 whatever the weights are:
    bfloat16 has eight bits, too few for positions in the thousands.
    """
    exponent = (
        torch.arange(0, config.head_size, 2, device=like.device, dtype=torch.float32) / config.head_size
    )
    position = torch.arange(length, device=like.device, dtype=torch.float32)
    angle = torch.outer(position, 1.0 / config.rope_theta**exponent)
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


class LlamaAttention(nn.Module):
    """Causal attention with rotary positions; each key and value head serves n_heads / n_kv_heads query heads
    (grouped queries).
    """

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
        """(n, positions, d_model) to the same; `cos` and `sin` are (positions, head size / 2)."""
        c = self.config
        q = rotate_positions(split_heads(self.q_proj(x), c.n_heads), cos, sin, c.rope == "pairs")
        k = rotate_positions(split_heads(self.k_proj(x), c.n_kv_heads), cos, sin, c.rope == "pairs")
        v = split_heads(self.v_proj(x), c.n_kv_heads)
        if c.n_kv_heads < c.n_heads:
            k, v = (t.repeat_interleave(c.n_heads // c.n_kv_heads, dim=-3) for t in (k, v))
        return self.o_proj(join_heads(attend_heads(q, k, v, self.pattern, causal=True)))


class LlamaFeedForward(nn.Module):
    """A gated feed-forward layer, down(silu(gate(x)) * up(x)) (arXiv 2002.05202): three maps and no bias."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.d_model, config.d_mlp, bias=config.mlp_bias)
        self.up_proj = nn.Linear(config.d_model, config.d_mlp, bias=config.mlp_bias)
        self.down_proj = nn.Linear(config.d_mlp, config.d_model, bias=config.mlp_bias)

    def forward(self, x: Tensor) -> Tensor:
        """(n, positions, d_model) to the same."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class LlamaLayer(nn.Module):
    """One block; the norm before the feed-forward layer is called `post_attention_layernorm`, which is Hugging
    Face's name for it.
    """

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.input_layernorm = RmsNorm(config.d_model, config.norm_eps)
        self.self_attn = LlamaAttention(config)
        self.post_attention_layernorm = RmsNorm(config.d_model, config.norm_eps)
        self.mlp = LlamaFeedForward(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """(n, positions, d_model) to the same."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class LlamaDecoder(nn.Module):
    """Everything but the output map, under the name `model` as in the checkpoints."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab, config.d_model)
        self.layers = nn.ModuleList(LlamaLayer(config) for _ in range(config.n_layers))
        self.norm = RmsNorm(config.d_model, config.norm_eps)

    def forward(self, tokens: Tensor) -> Tensor:
        """Hidden states (n, positions, d_model) of tokens (n, positions); the angles are made once for all
        layers.
        """
        x = self.embed_tokens(tokens)
        cos, sin = compute_angles(tokens.shape[-1], self.config, x)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.norm(x)


class Llama(nn.Module, Architecture):
    """A Llama in plain PyTorch, with Hugging Face's names for modules and parameters."""

    NAME = "llama"

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.model = LlamaDecoder(config)
        self.lm_head = nn.Linear(config.d_model, config.vocab, bias=False)
        if config.tied:
            self.lm_head.weight = self.model.embed_tokens.weight

    def reset_parameters(self) -> None:
        """Hugging Face's: every map and the embedding with a spread of 0.02."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (n, positions, vocab) of the token after each position."""
        return self.lm_head(self.model(tokens))
