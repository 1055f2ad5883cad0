"""Attention as every transformer here uses it: explicit where its pattern is looked at, fused on long sequences."""

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FUSED_FROM = 512  # below this length the explicit form is as fast, and torch.func.vmap has a rule for it


class Pattern(nn.Identity):
    """The attention probabilities pass through here: a forward hook on it sees (..., heads, query, key)."""

    def is_watched(self) -> bool:
        """Whether anybody looks. Only then must the pattern exist: the fused kernel never writes it to memory."""
        return bool(self._forward_hooks or self._forward_pre_hooks)


def attend_heads(
    q: Tensor, k: Tensor, v: Tensor, pattern: Pattern, *, causal: bool, mask: Tensor | None = None
) -> Tensor:
    """(..., heads, positions, head size); `mask` is True at the keys that may be seen, (..., keys).

    `q`, `k`, `v` are all of that shape; scores are divided by the root of the head size. `causal` hides later
    keys from a query. The explicit form holds a (positions, positions) matrix per head, which is what makes
    long sequences want the fused one.
    """
    length = q.shape[-2]
    if length >= FUSED_FROM and mask is None and not pattern.is_watched():
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if causal:
        hidden = torch.ones(length, length, dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(hidden, -torch.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask[..., None, None, :], -torch.inf)
    return pattern(scores.softmax(-1)) @ v


def split_heads(x: Tensor, n_heads: int) -> Tensor:
    """(..., positions, heads * size) to (..., heads, positions, size)."""
    return x.unflatten(-1, (n_heads, -1)).transpose(-2, -3)


def join_heads(x: Tensor) -> Tensor:
    """(..., heads, positions, size) to (..., positions, heads * size)."""
    return x.transpose(-2, -3).flatten(-2)


class SelfAttention(nn.Module):
    """Multi-head self-attention with four separate linear maps, so that each can be hooked."""

    def __init__(self, d_model: int, n_heads: int, *, causal: bool, bias: bool = True) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (
            nn.Linear(d_model, d_model, bias=bias) for _ in range(4)
        )
        self.pattern = Pattern()
        self.n_heads, self.causal = n_heads, causal

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(n, positions, d_model) to the same; `mask` (n, positions) is False at padding."""
        q, k, v = (split_heads(p(x), self.n_heads) for p in (self.q_proj, self.k_proj, self.v_proj))
        return self.o_proj(join_heads(attend_heads(q, k, v, self.pattern, causal=self.causal, mask=mask)))


# A module that is only a bag of named weights, for checkpoints whose maps are not layers.


class NamedWeights(nn.Module):
    """Names that start with `b_` are biases; the others are drawn with variance 1 / size of their fan-in axis."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Tensor: ...

    def __init__(self, fan_in: int = -1, **shapes: tuple[int, ...]) -> None:
        super().__init__()
        self._fan_in = fan_in
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))

    def reset_parameters(self) -> None:
        """A spread of one over the root of the fan-in, whose axis differs between checkpoints: they store maps
        either way round.
        """
        for name, parameter in self.named_parameters(recurse=False):
            if name.startswith("b_"):
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, std=1 / math.sqrt(parameter.shape[self._fan_in]))


# Activation functions by name.


def _keep_as_is(x: Tensor) -> Tensor:
    """No nonlinearity, under a name, so that a network without one is a setting like the others."""
    return x


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "sigmoid": torch.sigmoid,
    "leaky": F.leaky_relu,
    "silu": F.silu,
    "none": _keep_as_is,
}
