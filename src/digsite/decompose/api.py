"""Decompose a model of your own in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from digsite.base.contract import public_method
from digsite.decompose.config import DecomposeConfig
from digsite.decompose.core.decomposition import Decomposition
from digsite.decompose.core.fit import Fit, Problem
from digsite.decompose.core.guarding import train_fit
from digsite.decompose.core.recipes import OWN, choose_config, find_dense_layers, make_room, update_config
from digsite.decompose.subjects.inputs import make_sampler, sample_opened
from digsite.models.opening import answer_for_a_while, fed_by_rows, of_module, one_batch, open_model

OnStep = Callable[[int, dict[str, Tensor]], None]


@public_method()
def decompose(
    model: nn.Module | str,
    modules: Sequence[str] | str | None = None,
    data: Any = None,
    *,
    config: DecomposeConfig | None = None,
    recipe: str = "auto",
    seed: int = 0,
    identity: Sequence[str] = (),
    output: str = "",
    device: str | torch.device = "cpu",
    on_step: OnStep | None = None,
    **settings: Any,
) -> Decomposition:
    """Split the weights of the matching modules into rank-one components that few inputs need at once.

    `model` is a module or a reference. `modules` are patterns over module names; none: every dense layer. `data` is a
    tensor of inputs, a dict batch of a tokenizer, an iterable of batches (a DataLoader), a function from a
    torch.Generator to a batch, or for a reference the name of a corpus or of images. `recipe` names a set of settings
    (`language`, `transformers`, `spd`, `successor`); `auto` takes the one for language where the model was trained on it
    (transformers' own, or as many answers as tokens), that for transformers where another model reads tokens, the original one
    elsewhere, and is ignored where a `config` is given. Where C is below the rank of a matrix, `auto` lets
    the parts learn, and what they leave over takes part as one more component. `settings` are fields of DecomposeConfig
    and win over both. The model must be in evaluation mode and is left as it is.

    `seed` is that of the parts and of everything drawn. `identity` are patterns of modules whose stream is
    decomposed too, `output` names the entry of a model's answer that counts, `device` is where training runs,
    and `on_step(step, losses)` hears of every step.
    """
    if isinstance(model, str) or hasattr(model, "main_input_name"):
        opened = open_model(model) if isinstance(model, str) else of_module(model)
        tokens = opened.takes_tokens
        if tokens and config is None:
            trained = recipe == "auto" and not set(settings) & OWN
            recipe = "language" if trained else recipe
            distance = "kl" if opened.writes_tokens else "relative" if trained else "mse"
            settings = {"compare": distance, **settings}
        if isinstance(data, str):
            data = f"text:{data}" if tokens and not data.endswith(".npy") else data
            data = sample_opened(
                data, opened, opened.need_module("be decomposed"), update_config(config, settings).batch
            )
        with answer_for_a_while(opened) as module:
            return _decompose_one(
                module, modules, data, config, recipe, seed, identity, output, device, on_step, settings
            )
    with _one_input(model, data, device) as rows:
        return _decompose_one(
            model, modules, rows, config, recipe, seed, identity, output, device, on_step, settings
        )


@contextmanager
def _one_input(model: nn.Module, data: Any, device: str | torch.device) -> Iterator[Any]:
    """The data as it is, or, of a batch with several inputs by name, the numbers of its rows."""
    named = one_batch(data) if isinstance(data, Mapping) else None
    if not isinstance(named, dict) or len(named) < 2:
        yield data
        return
    with fed_by_rows(model, {name: value.to(device) for name, value in named.items()}) as rows:
        yield rows


def _decompose_one(
    model: nn.Module,
    modules: Sequence[str] | str | None,
    data: Any,
    config: DecomposeConfig | None,
    recipe: str,
    seed: int,
    identity: Sequence[str],
    output: str,
    device: str | torch.device,
    on_step: OnStep | None,
    settings: dict[str, Any],
) -> Decomposition:
    """One seed: settings, target, training, and the finished decomposition."""
    decompositions = decompose_seeds(
        [model],
        [modules] if isinstance(modules, str) else modules,
        data=data,
        config=config,
        recipe=recipe,
        seeds=[seed],
        identity=identity,
        output=output,
        device=device,
        on_step=on_step,
        **settings,
    )
    return decompositions[0]


@public_method()
def decompose_seeds(
    models: Sequence[nn.Module],
    modules: Sequence[str] | None = None,
    *,
    data: Any,
    seeds: Sequence[int],
    config: DecomposeConfig | None = None,
    recipe: str = "auto",
    identity: Sequence[str] = (),
    output: str = "",
    device: str | torch.device = "cpu",
    on_step: OnStep | None = None,
    **settings: Any,
) -> list[Decomposition]:
    """One stacked program for one model from several seeds, or for several models of one architecture.

    `models` are one module or one for each of `seeds`; all else (`modules`, `data`, `config`, `recipe`,
    `identity`, `output`, `device`, `on_step`, `settings`) is as in `decompose`.
    """
    sample = make_sampler(data, 2)
    look = sample(torch.Generator().manual_seed(0))
    chosen = choose_config(models[0], look, settings, config=config, recipe=recipe, output=output)
    patterns = list(modules) if modules is not None else find_dense_layers(models[0])
    if config is None and recipe == "auto":
        chosen = make_room(chosen, models[0], patterns, may_learn="faithful" not in settings)
    if isinstance(data, Tensor):  # a stream is opened once: some can be read only once
        sample = make_sampler(data, chosen.batch)
    problem = Problem(list(models), patterns, sample, tuple(identity), output)
    fit = Fit(problem, chosen, list(seeds), device=device)
    train_fit(fit, on_step)
    return [fit.make_decomposition(k) for k in range(len(seeds))]
