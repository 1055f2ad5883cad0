"""How spread out each head looks, in shares of the largest possible entropy, and how unlike the heads are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from digsite.base.contract import Numbers, public_method
from digsite.base.errors import UsageError


@dataclass(frozen=True)
class Specialization:
    """`index` is the largest minus the smallest head entropy; 0 when all heads look alike."""

    per_head: tuple[float, ...]
    mean: float
    low: float
    high: float
    sd: float
    index: float


@public_method(probabilities=Numbers(4), visible=Numbers(2, whole=True, optional=True))
def attention_entropy(
    probabilities: Float[Tensor, "batch head query key"], visible: Bool[Tensor, "query key"] | None = None
) -> Float[Tensor, "head"]:
    """Mean entropy of each head's rows over ln(visible keys): 1 is uniform, 0 is one key.

    The rows are probabilities and are used as they are. A query that sees one key has no choice and is left out.
    `visible` is found from the zeros above the diagonal when it is not given.
    """
    p = _checked(probabilities)
    seen = _visible(p) if visible is None else visible
    keys = seen.sum(-1)
    open_rows = keys > 1
    if not bool(open_rows.any()):
        raise UsageError("No query sees more than one key: attention entropy is undefined.")
    entropy = torch.special.entr(p.double()).sum(-1)
    share = entropy[..., open_rows] / keys[open_rows].double().log()
    return share.mean((0, 2)).float()


@public_method(probabilities=Numbers(4), visible=Numbers(2, whole=True, optional=True))
def attention_specialization(
    probabilities: Float[Tensor, "batch head query key"], visible: Bool[Tensor, "query key"] | None = None
) -> Specialization:
    heads = attention_entropy(probabilities, visible)
    low, high = float(heads.min()), float(heads.max())
    sd = float(heads.std(correction=0))
    return Specialization(tuple(heads.tolist()), float(heads.mean()), low, high, sd, high - low)


def head_distinctness(probabilities: Float[Tensor, "batch head query key"]) -> float:
    """Mean Jensen-Shannon divergence of each head from the heads' average, in shares of ln(heads)."""
    p = _checked(probabilities).double()
    heads = p.shape[1]
    if heads < 2:
        return 0.0
    mixed = torch.special.entr(p.mean(1)).sum(-1)
    alone = torch.special.entr(p).sum(-1).mean(1)
    return float((mixed - alone).mean() / torch.tensor(float(heads)).log())


def _checked(p: Tensor) -> Tensor:
    if p.ndim != 4:
        raise UsageError(f"Attention has the shape (batch, head, query, key); this has {tuple(p.shape)}.")
    sums = p.sum(-1)
    if not torch.allclose(sums, torch.ones_like(sums), atol=1e-3) or bool((p < -1e-6).any()):
        raise UsageError(
            "These are not attention probabilities: a row does not sum to 1.", hint="Apply softmax to scores."
        )
    return p.clamp_min(0)


def _visible(p: Tensor) -> Tensor:
    """Causal when everything above the diagonal is zero, else all keys."""
    queries, keys = p.shape[-2:]
    causal = torch.ones(queries, keys, dtype=torch.bool, device=p.device).tril(keys - queries)
    hidden = p[..., ~causal]
    return causal if hidden.numel() and not bool((hidden > 0).any()) else torch.ones_like(causal)
