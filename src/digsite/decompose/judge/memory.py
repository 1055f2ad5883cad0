"""Memory of a decomposition by number of components: parameters, optimizer, and what a step keeps for the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from digsite.decompose.config import DecomposeConfig, FaithfulnessWarmup
from digsite.decompose.core.fit import Fit, Problem, kept_bytes
from digsite.decompose.core.losses import loss_tag

MB = 1e6


def by_components(
    problem: Problem, config: DecomposeConfig, counts: Sequence[int], device: Any = "cpu"
) -> dict[str, list[float]]:
    """A row for each count, with and without recomputation where the losses allow it; measured, not estimated."""
    attacks = any(loss_tag(loss.kind, "ATTACKS") for loss in config.losses.values())
    kinds = [False] if attacks else [True] if config.recompute == "always" else [False, True]
    rows = [_row(problem, config, n, recompute, device) for n in counts for recompute in kinds]
    return {key: [row[key] for row in rows] for key in rows[0]}


def _row(problem: Problem, config: DecomposeConfig, n: int, recompute: bool, device: Any) -> dict[str, float]:
    own = config.model_copy(
        update={
            "C": n,
            "recompute": "always" if recompute else "never",
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
        "kept_mb": kept_bytes(fit, *fit.draws.batch(0)) / MB,
    }


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
