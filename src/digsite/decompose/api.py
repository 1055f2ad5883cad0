"""Decompose a model of your own in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from digsite.config.resolve import validate
from digsite.decompose.config import DecomposeConfig
from digsite.decompose.core.decomposition import Decomposition
from digsite.decompose.core.fit import Fit, Problem
from digsite.decompose.subjects.inputs import as_sampler

OnStep = Callable[[int, dict[str, Tensor]], None]


def decompose(
    model: nn.Module,
    modules: Sequence[str],
    *,
    data: Any,
    config: DecomposeConfig | None = None,
    seed: int = 0,
    identity: Sequence[str] = (),
    output: str = "",
    device: str | torch.device = "cpu",
    on_step: OnStep | None = None,
    **settings: Any,
) -> Decomposition:
    """Split the weights of the matching modules into rank-one components that few inputs need at once.

    `data` is a tensor of inputs, an iterable of batches, or a function from a torch.Generator to a batch; `settings`
    are fields of DecomposeConfig. The model must be in evaluation mode and is left as it is.
    """
    found = decompose_seeds(
        [model],
        modules,
        data=data,
        config=config,
        seeds=[seed],
        identity=identity,
        output=output,
        device=device,
        on_step=on_step,
        **settings,
    )
    return found[0]


def decompose_seeds(
    models: Sequence[nn.Module],
    modules: Sequence[str],
    *,
    data: Any,
    seeds: Sequence[int],
    config: DecomposeConfig | None = None,
    identity: Sequence[str] = (),
    output: str = "",
    device: str | torch.device = "cpu",
    on_step: OnStep | None = None,
    **settings: Any,
) -> list[Decomposition]:
    """One stacked program for one model from several seeds, or for several models of one architecture."""
    chosen = resolve(config, settings)
    problem = Problem(list(models), list(modules), as_sampler(data, chosen.batch), tuple(identity), output)
    fit = Fit(problem, chosen, list(seeds), device=device)
    for step in range(chosen.steps):
        terms = fit.step(step)
        if on_step is not None:
            on_step(step, terms)
    return [fit.decomposition(k) for k in range(len(seeds))]


def resolve(config: DecomposeConfig | None, settings: dict[str, Any]) -> DecomposeConfig:
    """`config`, or the default one, with some settings changed; a slip is answered with the nearest name."""
    base = (config or DecomposeConfig()).model_dump()
    return validate(DecomposeConfig, base | settings, what="decomposition's settings")
