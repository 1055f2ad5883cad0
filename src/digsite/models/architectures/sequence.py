"""Small attention and recurrent networks: classifiers, and those of algorithmic tasks."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.models.architectures import Architecture
from digsite.models.configs.sequence import (
    GruConfig,
    InductionConfig,
    ModularTransformerConfig,
    ToyTransformerConfig,
    TransformerConfig,
)
from digsite.models.parts import (
    ACTIVATIONS,
    NamedWeights,
    Pattern,
    SelfAttention,
    attend_heads,
    join_heads,
    split_heads,
)


class EncoderBlock(nn.Module):
    """Self-attention and a feed-forward layer over all positions, with norms after (as published in 2017) or
    before each.
    """

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
        """(n, positions, d_model) to the same, each position by itself."""
        return self.mlp_out(self.activate(self.mlp_in(x)))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(n, positions, d_model) to the same; `mask` (n, positions) is False at padding."""
        if self.post:
            x = self.norm1(x + self.dropout1(self.attn(x, mask)))
            return self.norm2(x + self.dropout2(self.feed_forward(x)))
        x = x + self.dropout1(self.attn(self.norm1(x), mask))
        return x + self.dropout2(self.feed_forward(self.norm2(x)))


class Transformer(nn.Module, Architecture):
    """Patches or tokens, encoder blocks, the mean over positions, one linear layer."""

    NAME = "transformer"

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
        """0.02 for positions and embeddings: torch draws embeddings with a spread of one, beside which positions would be lost."""
        nn.init.normal_(self.position, std=0.02)
        if isinstance(self.embed, nn.Embedding):
            nn.init.normal_(self.embed.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, n_classes) of images (n, channels, height, width), or of tokens (n, length) where there is
        a vocabulary.
        """
        mask = None if self.config.pad is None or not self.config.vocab else x != self.config.pad
        x = self.embed(x) if self.config.vocab else self.embed(self.patches(x))
        x = x + self.position[: x.shape[-2]]
        for block in self.blocks:
            x = block(x, mask)
        return self.head(_mean_visible(self.norm(x), mask))

    def patches(self, x: Tensor) -> Tensor:
        """(n, c, h, w) to (n, patches, c * side * side)."""
        return F.unfold(x, self.config.patch, stride=self.config.patch).transpose(-1, -2)


def _mean_visible(x: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over positions, of those that are no padding: (n, positions, d_model) to (n, d_model)."""
    if mask is None:
        return x.mean(-2)
    weight = mask.unsqueeze(-1).to(x.dtype)
    return (x * weight).sum(-2) / weight.sum(-2)


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
        """torch's own: uniform within one over the root of the hidden width, biases too."""
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


class Gru(nn.Module, Architecture):
    """A gated recurrent unit over a sequence and one linear layer on its last state."""

    NAME = "gru"

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


class AttentionLayer(nn.Module):
    """Attention and nothing else, with four maps without biases: what the theory of induction heads is about."""

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
        return x + self.o_proj(join_heads(attend_heads(q, k, v, self.pattern, causal=True)))


class Induction(nn.Module, Architecture):
    """Embedding, causal attention layers and nothing else, read out by a linear map."""

    NAME = "induction"

    def __init__(self, config: InductionConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab, config.d_model)
        self.position = nn.Embedding(config.context, config.d_model)
        self.layers = nn.ModuleList(AttentionLayer(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model) if config.norm else nn.Identity()
        self.unembed = nn.Linear(config.d_model, config.vocab, bias=False)

    def reset_parameters(self) -> None:
        """One spread for maps and embeddings alike, d_model^-0.5, instead of torch's two defaults."""
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


class ToyNorm(nn.Module):
    """Layer norm under TransformerLens's names, `w` and `b`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def reset_parameters(self) -> None:
        """The identity, up to the normalization."""
        nn.init.ones_(self.w)
        nn.init.zeros_(self.b)

    def forward(self, x: Tensor) -> Tensor:
        """Over the last axis, with torch's epsilon."""
        return F.layer_norm(x, x.shape[-1:], self.w, self.b)


class ToyAttention(NamedWeights):
    """One matrix per head, W_Q (heads, d_model, d_head), instead of one map for all: then a head is an index."""

    def __init__(self, config: ToyTransformerConfig) -> None:
        h, d, s = config.n_heads, config.d_model, config.d_head
        maps = {f"W_{x}": (h, d, s) for x in "QKV"} | {f"b_{x}": (h, s) for x in "QKV"}
        super().__init__(fan_in=-2, **maps, W_O=(h, s, d), b_O=(d,))
        self.pattern = Pattern()
        self.causal = config.causal

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(n, positions, d_model) to the same; `mask` (n, positions) is False at padding."""
        maps = ((self.W_Q, self.b_Q), (self.W_K, self.b_K), (self.W_V, self.b_V))
        q, k, v = (torch.einsum("npd,hds->nhps", x, w) + b[:, None, :] for w, b in maps)
        mixed = attend_heads(q, k, v, self.pattern, causal=self.causal, mask=mask)
        return torch.einsum("nhps,hsd->npd", mixed, self.W_O) + self.b_O


class ToyFeedForward(NamedWeights):
    """Weights on the right of what they act on, x W_in, as TransformerLens stores them."""

    def __init__(self, config: ToyTransformerConfig) -> None:
        d, m = config.d_model, config.d_mlp
        super().__init__(fan_in=-2, W_in=(d, m), b_in=(m,), W_out=(m, d), b_out=(d,))

    def forward(self, x: Tensor) -> Tensor:
        """(n, positions, d_model) to the same, each position by itself."""
        return F.relu(x @ self.W_in + self.b_in) @ self.W_out + self.b_out


class ToyBlock(nn.Module):
    """A block without neurons (d_mlp 0) has no second norm either: its checkpoints hold none."""

    def __init__(self, config: ToyTransformerConfig) -> None:
        super().__init__()
        self.ln1, self.attn = ToyNorm(config.d_model), ToyAttention(config)
        self.ln2 = ToyNorm(config.d_model) if config.d_mlp else None
        self.mlp = ToyFeedForward(config) if config.d_mlp else None

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(n, positions, d_model) to the same; `mask` (n, positions) is False at padding."""
        x = x + self.attn(self.ln1(x), mask)
        return x if self.ln2 is None or self.mlp is None else x + self.mlp(self.ln2(x))


class ToyTransformer(nn.Module, Architecture):
    """Pre-norm blocks with one matrix per head, TransformerLens's names and shapes, a linear read-out at every position."""

    NAME = "toy_transformer"

    def __init__(self, config: ToyTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = NamedWeights(W_E=(config.vocab, config.d_model))
        self.pos_embed = NamedWeights(W_pos=(config.context, config.d_model))
        self.blocks = nn.ModuleList(ToyBlock(config) for _ in range(config.n_layers))
        self.ln_final = ToyNorm(config.d_model)
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


class ModularAttention(NamedWeights):
    """Attention whose pattern is mixed with a uniform one, share * softmax + (1 - share), the knob of "The
    Clock and the Pizza".
    """

    def __init__(self, config: ModularTransformerConfig) -> None:
        heads, d = config.n_heads, config.d_model
        size = d // heads
        super().__init__(W_K=(heads, size, d), W_Q=(heads, size, d), W_V=(heads, size, d), W_O=(d, d))
        self.pattern = Pattern()
        self.share = config.attention

    def forward(self, x: Tensor) -> Tensor:
        """(n, 2, d_model) to the same. Not causal, and the rows of a mixed pattern do not sum to one: as the
        checkpoints were trained.
        """
        q, k, v = (torch.einsum("hsd,npd->nhps", w, x) for w in (self.W_Q, self.W_K, self.W_V))
        softmax = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
        mixed = (self.pattern(softmax * self.share + (1 - self.share)) @ v).transpose(1, 2).flatten(2)
        return mixed @ self.W_O.T


class ModularFeedForward(NamedWeights):
    """Neurons on the left, (neurons, d_model), as these checkpoints store them."""

    def __init__(self, config: ModularTransformerConfig) -> None:
        d, inner = config.d_model, config.d_mlp
        super().__init__(W_in=(inner, d), b_in=(inner,), W_out=(d, inner), b_out=(d,))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 2, d_model) to the same, each of the two places by itself."""
        return F.linear(F.relu(F.linear(x, self.W_in, self.b_in)), self.W_out, self.b_out)


class ModularBlock(nn.Module):
    """Attention and neurons, each added to the stream, without norms."""

    def __init__(self, config: ModularTransformerConfig) -> None:
        super().__init__()
        self.attn, self.mlp = ModularAttention(config), ModularFeedForward(config)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 2, d_model) to the same."""
        x = x + self.attn(x)
        return x + self.mlp(x)


class ModularTransformer(nn.Module, Architecture):
    """Two tokens, attention mixed with a constant pattern, a ReLU layer, no norm; the published checkpoints' names."""

    NAME = "modular_transformer"

    def __init__(self, config: ModularTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = NamedWeights(W_E=(config.d_model, config.vocab))
        self.pos_embed = NamedWeights(W_pos=(2, config.d_model))
        self.blocks = nn.ModuleList(ModularBlock(config) for _ in range(config.n_layers))
        self.unembed = NamedWeights(W_U=(config.d_model, config.vocab))

    def forward(self, pairs: Tensor) -> Tensor:
        """Logits (n, modulus) of the sum of pairs (n, 2) of numbers."""
        if self.config.vocab > self.config.modulus:
            pairs = torch.stack([pairs[:, 0], pairs[:, 1] + self.config.modulus], 1)
        x = F.embedding(pairs, self.embed.W_E.T) + self.pos_embed.W_pos
        for block in self.blocks:
            x = block(x)
        return (x[:, -1] @ self.unembed.W_U)[:, : self.config.modulus]
