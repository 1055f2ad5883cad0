"""Memory of a decomposition by number of components: parameters, optimizer, and what a step keeps for the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from digsite.decompose.config import DecomposeConfig, FaithfulnessWarmup
from digsite.decompose.fit import Fit, Problem

MB = 1e6


def by_components(
    problem: Problem, config: DecomposeConfig, counts: Sequence[int], device: Any = "cpu"
) -> dict[str, list[float]]:
    """A row for each count, with and without recomputation where the losses allow it; measured, not estimated."""
    kinds = [True] if config.recompute else [False, True]
    if any(loss.kind == "adversarial" for loss in config.losses.values()):
        kinds = [False]
    rows = [_row(problem, config, n, recompute, device) for n in counts for recompute in kinds]
    return {key: [row[key] for row in rows] for key in rows[0]}


def _row(problem: Problem, config: DecomposeConfig, n: int, recompute: bool, device: Any) -> dict[str, float]:
    own = config.model_copy(
        update={
            "C": n,
            "recompute": recompute,
            "accumulate": 1,
            "compile": "never",
            "faithfulness_warmup": FaithfulnessWarmup(steps=0),
        }
    )
    fit = Fit(problem, own, [0], device=device)
    parameters = sum(_bytes(value) for value in fit.params.values())
    return {
        "C": n,
        "recompute": recompute,
        "parameters_mb": parameters / MB,
        "optimizer_mb": 2 * parameters / MB,  # AdamW's two moments
        "kept_mb": kept_bytes(fit) / MB,
    }


def kept_bytes(fit: Fit) -> int:
    """Storage that autograd holds for the way back in one step; parameters and the target's weights left out."""
    ours = {value.untyped_storage().data_ptr() for value in fit.params.values()}
    ours |= {value.untyped_storage().data_ptr() for value in fit.target.weights().values()}
    kept: dict[int, int] = {}
    alive: list[Tensor] = []  # so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in ours:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        fit.step(0)
    return sum(kept.values())


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
