"""Learning coefficients of deep linear networks in closed form (Aoyagi 2024), and networks that have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import ceil

import torch
from jaxtyping import Float
from torch import Tensor, nn

from digsite.base.errors import UsageError


@dataclass(frozen=True)
class ClosedForm:
    """The coefficient and its multiplicity (the power of log n that comes with it)."""

    value: float
    multiplicity: int


def solve_linear_coefficient(widths: Sequence[int], rank: int) -> ClosedForm:
    """Aoyagi's theorem: of a linear network with these widths (input to output) at a true map of this rank.

    The layers that matter are a subset of the excess widths M_s = H_s - rank which is bounded by its own mean: all of
    those in it lie below sum / l, all others at or above, with l + 1 their number.
    """
    if rank > min(widths) or rank < 0:
        raise UsageError(
            f"rank={rank} is none that a network of widths {list(widths)} can have: 0 to {min(widths)}."
        )
    excess = [width - rank for width in widths]
    chosen = _bottleneck_widths(sorted(excess))
    ell, total = len(chosen) - 1, sum(chosen)
    outer = (-(rank**2) + rank * (widths[0] + widths[-1])) / 2
    upper = ceil(total / ell)
    a = total - (upper - 1) * ell
    pairs = sum(x * y for x, y in combinations(chosen, 2))
    value = outer + a * (ell - a) / (4 * ell) - ell * (ell - 1) / 4 * (total / ell) ** 2 + pairs / 2
    return ClosedForm(value, a * (ell - a) + 1)


def _bottleneck_widths(excess: list[int]) -> list[int]:
    """The smallest excess widths, as many as satisfy the theorem's inequalities; at least two."""
    for count in range(2, len(excess) + 1):
        chosen, rest = excess[:count], excess[count:]
        ell = count - 1
        if sum(chosen) >= ell * chosen[-1] and (not rest or sum(chosen) < ell * rest[0]):
            return chosen
    # Ties between widths: the inequalities hold with equality for two sizes, and both give the same value.
    return max(
        (excess[:c] for c in range(2, len(excess) + 1) if sum(excess[:c]) >= (c - 1) * excess[c - 1]), key=len
    )


def build_linear_network(widths: Sequence[int], rank: int, seed: int, scale: float = 1.0) -> nn.Sequential:
    """A linear network at the most singular weights of a map of this rank: every layer has that rank, the rest is zero.

    widths: input to output. seed: of the orthogonal bases. scale: singular values of each layer. Other weights of the same
    map can have larger local coefficients; at these the local one is the closed form.
    """
    draw = torch.Generator().manual_seed(seed)
    bases = [torch.linalg.qr(torch.randn(w, w, generator=draw))[0] for w in widths]
    layers = []
    for i, (n, m) in enumerate(pairwise(widths)):
        layer = nn.Linear(n, m, bias=False)
        core = torch.zeros(m, n)
        core[range(rank), range(rank)] = scale
        with torch.no_grad():
            layer.weight.copy_(bases[i + 1] @ core @ bases[i].T)
        layers.append(layer)
    return nn.Sequential(*layers)


def draw_white_inputs(count: int, width: int, seed: int) -> Float[Tensor, "count width"]:
    """Inputs whose covariance is exactly the identity, so that the loss depends on the map alone."""
    draw = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(count, width, generator=draw))[0] * count**0.5


def unit_noise_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Negative log likelihood of unit noise, without its constant: half the squared error, summed over outputs."""
    return 0.5 * (outputs - targets).square().sum(-1).mean()
