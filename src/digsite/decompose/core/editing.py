"""Write scaled or chosen components back into a copy of the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.decompose.core.components import Components, Decomposed


def scaled(found: Decomposed, scales: Mapping[str, Mapping[int, float]]) -> nn.Module:
    """W + sum of (scale - 1) v_c u_c."""

    def change(parts: Components, module: str) -> Tensor:
        numbers = _numbers(parts, list(scales[module]), module)
        factor = torch.tensor([scales[module][c] - 1 for c in numbers]).to(parts.V)
        return parts.weight + (parts.V[:, numbers] * factor) @ parts.U[numbers]

    return _rewritten(found, list(scales), change)


def only(found: Decomposed, on: Mapping[str, Sequence[int]], residual: bool) -> nn.Module:
    def change(parts: Components, module: str) -> Tensor:
        numbers = _numbers(parts, on[module], module)
        kept = parts.V[:, numbers] @ parts.U[numbers]
        return kept + parts.residual if residual else kept

    return _rewritten(found, list(on), change)


def _numbers(parts: Components, numbers: Sequence[int], module: str) -> list[int]:
    n = parts.V.shape[1]
    if wrong := [c for c in numbers if not 0 <= c < n]:
        raise UsageError(f"The module '{module}' has components 0 to {n - 1}, not {wrong[0]}.")
    return list(numbers)


def _rewritten(
    found: Decomposed, modules: Sequence[str], change: Callable[[Components, str], Tensor]
) -> nn.Module:
    model = plain_copy(found.model)
    for name in modules:
        weight = change(found.components(name), name).detach()
        site = found.plan.target.sites[name]
        if site.is_identity:
            raise UsageError(f"'{name}' is an inserted identity: the model has no layer to write it to.")
        module = model.get_submodule(site.path)
        # A tied weight changes in the named module alone.
        module.weight = nn.Parameter(torch.as_tensor(module.weight).detach().clone())
        site.layer.assign(module, weight)
    return model


def plain_copy(model: nn.Module) -> nn.Module:
    """The model without the forward methods that a decomposition put on its modules."""
    answers = {m: m.__dict__.pop("forward") for m in model.modules() if "forward" in m.__dict__}
    try:
        return deepcopy(model)
    finally:
        for module, answer in answers.items():
            module.forward = answer
