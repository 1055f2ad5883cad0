"""Which settings a decomposition gets when none are given, and which layers when none are named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.decompose.config import DecomposeConfig
from digsite.decompose.core.layers import conv1d, linear
from digsite.decompose.core.recipes import read_recipe
from digsite.decompose.core.setup import component_counts
from digsite.decompose.core.starts.singular import numerical_rank
from digsite.decompose.core.target import find_sites, pick

VOCABULARY = 64  # tokens from which on outputs of the same number are taken for a language
OWN = {
    "losses",
    "gate",
    "init",
    "faithful",
}  # who sets one of these has a recipe of their own: it goes on the plain one


def choose_config(
    model: nn.Module,
    batch: Any,
    settings: dict[str, Any],
    *,
    config: DecomposeConfig | None = None,
    recipe: str = "auto",
    output: str = "",
) -> DecomposeConfig:
    """The config as given, or that of a recipe, with `settings` (fields by name) on top.

    `auto` looks at one `batch` of the data: whole numbers in rows are tokens, and a model that reads them gets the recipe
    for transformers, with KL between outputs where these are as many as the tokens (`output` names them).
    """
    if config is not None:
        return resolve(config, settings)
    if recipe != "auto":
        return resolve(None, read_recipe(recipe) | settings)
    reads_tokens = isinstance(batch, Tensor) and not batch.is_floating_point() and batch.ndim >= 2
    if not reads_tokens or set(settings) & OWN:
        return resolve(None, settings)
    base = read_recipe("transformers")
    if speaks_tokens(model, batch[:2], output):
        base["compare"] = "kl"
    return resolve(None, base | settings)


def make_room(config: DecomposeConfig, model: nn.Module, modules: Sequence[str]) -> DecomposeConfig:
    """Parts that are only mixed cannot make up a matrix of a higher rank than their number; where C is that small, they
    learn instead, and the residual takes part.
    """
    if config.faithful == "learned" or config.C == "rank":
        return config
    matrices = {site.name: site.matrix().detach()[None] for site in find_sites(model, modules)}
    counts = component_counts(config.C, list(matrices))
    if all(counts[name] >= numerical_rank(matrix[0]) for name, matrix in matrices.items()):
        return config
    return resolve(config, {"faithful": "learned", "delta": True, "faithfulness_warmup": {"steps": 0}})


def speaks_tokens(model: nn.Module, batch: Tensor, output: str) -> bool:
    """Whether the model's outputs are a distribution over the tokens that it reads: as many, and more than a few.

    Six answers of a network that reads six symbols are answers: KL between softmaxed zeros and ones hardly sees them.
    """
    first = next((m for m in model.modules() if isinstance(m, nn.Embedding)), None)
    if first is None:
        return False
    device = next(model.parameters()).device
    with torch.no_grad():
        found = pick(model(batch.to(device)), output)
    return found.shape[-1] == first.num_embeddings >= VOCABULARY


def find_dense_layers(model: nn.Module) -> list[str]:
    """Names of all dense layers; one that shares its weight with an embedding belongs to the embedding."""
    tied = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    found = [
        name
        for name, module in model.named_modules()
        if (linear.matches(module) or conv1d.matches(module)) and id(module.weight) not in tied
    ]
    if not found:
        raise UsageError(
            f"The model {type(model).__name__} has no dense layer.",
            hint="Name what to decompose: modules=[...].",
        )
    return found


def resolve(config: DecomposeConfig | None, settings: dict[str, Any]) -> DecomposeConfig:
    """A config with these fields on top."""
    base = (config or DecomposeConfig()).model_dump()
    return DecomposeConfig.model_validate(base | settings)
