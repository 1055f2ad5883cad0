"""The rank-one parts of one module: what they are, how two decompositions match, and models edited through them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from digsite.base.contract import public_method
from digsite.base.errors import UsageError
from digsite.decompose.config import DecomposeConfig
from digsite.decompose.core.scene import Plan, Scene

ALIVE_SHARE = 0.05  # a component is alive when its norm is above this share of the largest one's


@dataclass(frozen=True)
class Components:
    """The rank-one parts of one module: its matrix (d_in, d_out) is V U plus the residual."""

    V: Tensor
    U: Tensor
    weight: Tensor

    @property
    def residual(self) -> Tensor:
        """What the parts do not sum up to, (d_in, d_out): zero for a faithful decomposition."""
        return self.weight - self.V @ self.U

    @property
    def norms(self) -> Tensor:
        """|V_c| |U_c|, the Frobenius norm of each rank-one part."""
        return self.V.norm(dim=0) * self.U.norm(dim=1)

    def matrix(self, c: int) -> Tensor:
        """Part c alone, (d_in, d_out)."""
        return torch.outer(self.V[:, c], self.U[c])


class Decomposed(Protocol):
    """What is read of a decomposition by functions that its own methods call, so that no file imports in a circle."""

    plan: Plan
    params: dict[str, Tensor]
    config: DecomposeConfig
    origin: dict[str, Any]

    @property
    def modules(self) -> list[str]:
        """Names of the decomposed modules."""
        ...

    @property
    def model(self) -> nn.Module:
        """The target."""
        ...

    def components(self, module: str) -> Components:
        """The parts of one module."""
        ...

    def scene(self, batch: Any) -> Scene:
        """Everything the parts do on a batch."""
        ...


# --- components of two decompositions of the same modules, matched: what is stable across seeds? --------------


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
    """Hungarian matching of rank-one matrices by absolute cosine, module by module.

    `a` and `b` are decompositions of the same modules; `seed` draws the random directions of the null.
    """
    if a.modules != b.modules:
        raise UsageError(f"The decompositions are of different modules: {a.modules} and {b.modules}.")
    generator = torch.Generator().manual_seed(seed)
    return {
        module: match_components(a.components(module), b.components(module), generator)
        for module in a.modules
    }


def match_components(a: Components, b: Components, generator: torch.Generator) -> ModuleMatch:
    """Pairs of one module's parts in two decompositions; the null is as many parts of random directions,
    assigned as well.
    """
    (va, ua, kept_a), (vb, ub, kept_b) = find_directions(a), find_directions(b)
    rows, columns, values = assign_pairs(va, ua, vb, ub)
    order = values.argsort(descending=True).tolist()
    chance = (
        float(
            assign_pairs(va, ua, draw_directions(vb, 0, generator), draw_directions(ub, 1, generator))[
                2
            ].mean()
        )
        if len(values)
        else 0.0
    )
    pairs = [(int(kept_a[rows[i]]), int(kept_b[columns[i]])) for i in order]
    return ModuleMatch(pairs, [float(values[i]) for i in order], len(kept_a), len(kept_b), chance)


def find_directions(parts: Components) -> tuple[Tensor, Tensor, Tensor]:
    """Unit directions of the parts that are not negligible, and their numbers."""
    norms = parts.norms
    kept = (norms > ALIVE_SHARE * norms.max()).nonzero()[:, 0]
    v, u = parts.V[:, kept], parts.U[kept]
    return v / v.norm(dim=0), u / u.norm(dim=1, keepdim=True), kept


def assign_pairs(va: Tensor, ua: Tensor, vb: Tensor, ub: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The cosine of two rank-one matrices is the product of the cosines of their factors."""
    cosine = ((va.T @ vb) * (ua @ ub.T)).abs()
    rows, columns = (
        torch.as_tensor(index) for index in linear_sum_assignment(-cosine.detach().cpu().numpy())
    )
    return rows, columns, cosine[rows, columns]


def draw_directions(like: Tensor, axis: int, generator: torch.Generator) -> Tensor:
    """Unit vectors of the same number and size."""
    drawn = torch.randn(like.shape, generator=generator, dtype=like.dtype)
    return (drawn / drawn.norm(dim=axis, keepdim=True)).to(like.device)


# Write scaled or chosen components back into a copy of the model.


def scale_components(decomposition: Decomposed, scales: Mapping[str, Mapping[int, float]]) -> nn.Module:
    """W + sum of (scale - 1) v_c u_c."""

    def change(parts: Components, module: str) -> Tensor:
        numbers = check_numbers(parts, list(scales[module]), module)
        factor = torch.tensor([scales[module][c] - 1 for c in numbers]).to(parts.V)
        return parts.weight + (parts.V[:, numbers] * factor) @ parts.U[numbers]

    return rewrite_weights(decomposition, list(scales), change)


def keep_components(decomposition: Decomposed, on: Mapping[str, Sequence[int]], residual: bool) -> nn.Module:
    """A copy of the model whose modules are the named parts alone, with or without what no part explains."""

    def change(parts: Components, module: str) -> Tensor:
        numbers = check_numbers(parts, on[module], module)
        kept = parts.V[:, numbers] @ parts.U[numbers]
        return kept + parts.residual if residual else kept

    return rewrite_weights(decomposition, list(on), change)


def check_numbers(parts: Components, numbers: Sequence[int], module: str) -> list[int]:
    """Numbers that exist."""
    n = parts.V.shape[1]
    if wrong := [c for c in numbers if not 0 <= c < n]:
        raise UsageError(f"The module '{module}' has components 0 to {n - 1}, not {wrong[0]}.")
    return list(numbers)


def rewrite_weights(
    decomposition: Decomposed, modules: Sequence[str], change: Callable[[Components, str], Tensor]
) -> nn.Module:
    """A copy of the model with `change(parts, module)` in place of each named module's matrix (d_in, d_out)."""
    model = copy_plainly(decomposition.model)
    for name in modules:
        weight = change(decomposition.components(name), name).detach()
        site = decomposition.plan.target.sites[name]
        if site.is_identity:
            raise UsageError(f"'{name}' is an inserted identity: the model has no layer to write it to.")
        module = model.get_submodule(site.path)
        # A tied weight changes in the named module alone.
        module.weight = nn.Parameter(torch.as_tensor(module.weight).detach().clone())
        site.layer.write_matrix(module, weight)
    return model


def copy_plainly(model: nn.Module) -> nn.Module:
    """The model without the forward methods that a decomposition put on its modules."""
    answers = {m: m.__dict__.pop("forward") for m in model.modules() if "forward" in m.__dict__}
    try:
        return deepcopy(model)
    finally:
        for module, answer in answers.items():
            module.forward = answer
