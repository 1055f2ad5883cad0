"""Match the components of two decompositions of the same modules: what is stable across seeds?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from digsite.base.contract import public_method
from digsite.base.errors import UsageError
from digsite.decompose.core.components import ALIVE_SHARE, Components, Decomposed


@dataclass(frozen=True)
class ModuleMatch:
    """Pairs (component of a, component of b) by falling cosine of their matrices, of components that matter."""

    pairs: list[tuple[int, int]]
    cosine: list[float]
    n_a: int
    n_b: int
    chance: float  # mean cosine of the same matching with random directions in place of b

    @property
    def stability(self) -> float:
        """Mean cosine over the larger set: a component without a partner counts as zero."""
        return sum(self.cosine) / max(self.n_a, self.n_b, 1)


@public_method()
def compare(a: Decomposed, b: Decomposed, *, seed: int = 0) -> dict[str, ModuleMatch]:
    """Hungarian matching of rank-one matrices by absolute cosine, module by module."""
    if a.modules != b.modules:
        raise UsageError(f"The decompositions are of different modules: {a.modules} and {b.modules}.")
    generator = torch.Generator().manual_seed(seed)
    return {module: match(a.components(module), b.components(module), generator) for module in a.modules}


def match(a: Components, b: Components, generator: torch.Generator) -> ModuleMatch:
    (va, ua, kept_a), (vb, ub, kept_b) = _directions(a), _directions(b)
    rows, columns, values = _assign(va, ua, vb, ub)
    order = values.argsort(descending=True).tolist()
    chance = (
        float(_assign(va, ua, _random(vb, 0, generator), _random(ub, 1, generator))[2].mean())
        if len(values)
        else 0.0
    )
    pairs = [(int(kept_a[rows[i]]), int(kept_b[columns[i]])) for i in order]
    return ModuleMatch(pairs, [float(values[i]) for i in order], len(kept_a), len(kept_b), chance)


def _directions(parts: Components) -> tuple[Tensor, Tensor, Tensor]:
    norms = parts.norms
    kept = (norms > ALIVE_SHARE * norms.max()).nonzero()[:, 0]
    v, u = parts.V[:, kept], parts.U[kept]
    return v / v.norm(dim=0), u / u.norm(dim=1, keepdim=True), kept


def _assign(va: Tensor, ua: Tensor, vb: Tensor, ub: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The cosine of two rank-one matrices is the product of the cosines of their factors."""
    cosine = ((va.T @ vb) * (ua @ ub.T)).abs()
    rows, columns = (
        torch.as_tensor(index) for index in linear_sum_assignment(-cosine.detach().cpu().numpy())
    )
    return rows, columns, cosine[rows, columns]


def _random(like: Tensor, axis: int, generator: torch.Generator) -> Tensor:
    """Unit vectors of the same number and size."""
    drawn = torch.randn(like.shape, generator=generator, dtype=like.dtype)
    return (drawn / drawn.norm(dim=axis, keepdim=True)).to(like.device)
