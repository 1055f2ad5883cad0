"""Prefix matching and copying: the two signs of an induction head (Olsson et al. 2022), with their chance levels."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from digsite.base.contract import Numbers, public_method


def repeated_tokens(
    n_vocab: int, batch: int, half: int, generator: torch.Generator, *, first: int = 0
) -> Int[Tensor, "batch 2*half"]:
    """Random tokens said twice: only their order in the first half predicts the second."""
    once = torch.randint(first, n_vocab, (batch, half), generator=generator)
    return torch.cat([once, once], 1)


@public_method(probabilities=Numbers(4), tokens=Numbers(2, whole=True))
def prefix_matching(
    probabilities: Float[Tensor, "batch head query key"], tokens: Int[Tensor, "batch query"]
) -> Float[Tensor, "head"]:
    """Attention from a token to what followed its earlier occurrences, averaged over queries that have one."""
    target = _followers(tokens)
    has = target.any(-1)
    weight = (probabilities * target[:, None]).sum(-1)
    return (weight * has[:, None]).sum((0, 2)) / has.sum().clamp_min(1)


def prefix_matching_chance(tokens: Int[Tensor, "batch query"]) -> float:
    """What uniform causal attention scores."""
    target = _followers(tokens)
    has = target.any(-1)
    visible = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    return float(((target.sum(-1) / visible) * has).sum() / has.sum().clamp_min(1))


def _followers(tokens: Tensor) -> Tensor:
    """(batch, query, key): key - 1 holds the same token as the query, and lies before it."""
    same = tokens[:, :, None] == tokens[:, None, :]
    target = torch.zeros_like(same)
    target[:, :, 1:] = same[:, :, :-1]
    n = tokens.shape[1]
    return target & torch.ones(n, n, dtype=torch.bool, device=tokens.device).tril()


def copying(ov_circuit: Float[Tensor, "token token"]) -> float:
    """Share of eigenvalue mass of unembed-value-embed that is positive, from -1 to 1; a random matrix has about 0."""
    values = torch.linalg.eigvals(ov_circuit.double())
    return float(values.real.sum() / values.abs().sum().clamp_min(1e-300))


def head_circuits(
    embed: Float[Tensor, "token d"],
    value: Float[Tensor, "d d"],
    output: Float[Tensor, "d d"],
    unembed: Float[Tensor, "token d"],
    n_heads: int,
) -> Float[Tensor, "head token token"]:
    """What each head writes to the logits when it looks at a token; weights as nn.Linear holds them, norms left out."""
    values = value.unflatten(0, (n_heads, -1))
    outputs = output.unflatten(1, (n_heads, -1)).movedim(1, 0)
    return unembed @ outputs @ values @ embed.T


def in_context_score(losses: Float[Tensor, "batch position"], early: int, late: int) -> float:
    """Loss at a late position minus loss at an early one: more negative is more learning in context."""
    return float((losses[:, late] - losses[:, early]).mean())
