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
from digsite.decompose.subjects.inputs import as_sampler, opened_sampler
from digsite.models.opening import answered, of_module, open_model

OnStep = Callable[[int, dict[str, Tensor]], None]


def decompose(
    model: nn.Module | str,
    modules: Sequence[str] | str,
    data: Any,
    *,
    config: DecomposeConfig | None = None,
    seed: int = 0,
    identity: Sequence[str] = (),
    output: str = "",
    device: str | torch.device = "cpu",
    on_step: OnStep | None = None,
    **settings: Any,
) -> Decomposition:
    """Split the weights of the matching modules into rank-one components that few inputs need at once.

    `model` is a module or a reference. `data` is a tensor of inputs, a dict batch of a tokenizer, an iterable of batches
    (a DataLoader), a function from a torch.Generator to a batch, or for a reference the name of a corpus or of images;
    `settings` are fields of DecomposeConfig. The model must be in evaluation mode and is left as it is.
    """
    if isinstance(model, str) or hasattr(model, "main_input_name"):
        opened = open_model(model) if isinstance(model, str) else of_module(model)
        tokens = opened.kind in ("causal", "masked", "encoder", "encoder-decoder")
        if tokens and config is None:
            settings = {"compare": "kl" if opened.kind != "encoder" else "mse", **settings}
        if isinstance(data, str):
            data = f"text:{data}" if tokens and not data.endswith(".npy") else data
            data = opened_sampler(
                data, opened, opened.need_module("be decomposed"), resolve(config, settings).batch
            )
        with answered(opened) as module:
            return _decompose_one(
                module, modules, data, config, seed, identity, output, device, on_step, settings
            )
    return _decompose_one(model, modules, data, config, seed, identity, output, device, on_step, settings)


def _decompose_one(
    model: nn.Module,
    modules: Sequence[str] | str,
    data: Any,
    config: DecomposeConfig | None,
    seed: int,
    identity: Sequence[str],
    output: str,
    device: str | torch.device,
    on_step: OnStep | None,
    settings: dict[str, Any],
) -> Decomposition:
    found = decompose_seeds(
        [model],
        [modules] if isinstance(modules, str) else modules,
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
