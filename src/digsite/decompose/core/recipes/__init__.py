"""Recipes by name, and which settings and layers a decomposition gets when none are given.

Each recipe is a class with one set of DecomposeConfig fields, and the reason for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from digsite.base.errors import UsageError, name_nearest
from digsite.base.families import list_members, scan_member
from digsite.config.resolve import validate_config
from digsite.decompose.config import DecomposeConfig
from digsite.decompose.core.layers import find_layer
from digsite.decompose.core.setup import count_components
from digsite.decompose.core.starts import numerical_rank
from digsite.decompose.core.target import find_sites, pick_output

PACKAGE = "digsite.decompose.core.recipes"
VOCABULARY = 64  # tokens from which on outputs of the same number are taken for a language
OWN = {"losses", "gate", "init", "faithful"}  # who sets one of these has a recipe of their own


class Recipe:
    """A set of settings that belong together."""

    FIELDS: ClassVar[dict[str, Any]]
    """Fields of DecomposeConfig; others stay as they are."""


Member = Recipe


def read_recipe(name: str) -> dict[str, Any]:
    """Fields of DecomposeConfig that the named recipe sets."""
    if name not in list_members(PACKAGE):
        raise UsageError(f"'{name}' is not a recipe. {name_nearest(name, list_members(PACKAGE))}")
    return dict(scan_member(PACKAGE, name).FIELDS)


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

    `auto` looks at one `batch` of the data: whole numbers in rows are tokens. A model that answers with as many numbers
    as there are tokens (`output` names them) gets the recipe for language, any other that reads them that for
    transformers.
    """
    if config is not None:
        return update_config(config, settings)
    if recipe != "auto":
        return update_config(None, read_recipe(recipe) | settings)
    reads_tokens = isinstance(batch, Tensor) and not batch.is_floating_point() and batch.ndim >= 2
    if not reads_tokens or set(settings) & OWN:
        return update_config(None, settings)
    base = "language" if speaks_tokens(model, batch[:2], output) else "transformers"
    return update_config(None, read_recipe(base) | settings)


def make_room(
    config: DecomposeConfig, model: nn.Module, modules: Sequence[str], *, may_learn: bool = True
) -> DecomposeConfig:
    """Parts that are only mixed cannot make up a matrix of a higher rank than their number; where C is that small, they
    learn instead (if they `may_learn`: nobody asked for exact ones), and the residual takes part. A gate that reads vectors gives way to one of numbers where an embedding is
    among the modules, which is given none.
    """
    if config.gate.NEEDS_INPUTS and not all(s.layer.READS_VECTORS for s in find_sites(model, modules)):
        config = update_config(config, {"gate": {"kind": "mlp", "hidden": [8]}})
    if not may_learn or config.faithful == "learned" or config.C == "rank":
        return config
    matrices = {site.name: site.get_matrix().detach()[None] for site in find_sites(model, modules)}
    counts = count_components(config.C, list(matrices))
    if all(counts[name] >= numerical_rank(matrix[0]) for name, matrix in matrices.items()):
        return config
    return update_config(config, {"faithful": "learned", "delta": True, "faithfulness_warmup": {"steps": 0}})


def speaks_tokens(model: nn.Module, batch: Tensor, output: str, fewest: int = VOCABULARY) -> bool:
    """Whether the model's outputs are a distribution over the tokens that it reads: as many, and `fewest` or more.

    Six answers of a network that reads six symbols are answers: KL between softmaxed zeros and ones hardly sees them.
    """
    first = next((m for m in model.modules() if isinstance(m, nn.Embedding)), None)
    if first is None:
        return False
    device = next(model.parameters()).device
    with torch.no_grad():
        answer = pick_output(model(batch.to(device)), output)
    return answer.shape[-1] == first.num_embeddings >= fewest


def find_dense_layers(model: nn.Module) -> list[str]:
    """Names of all dense layers; one that shares its weight with an embedding belongs to the embedding."""
    tied = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    dense = []
    for name, module in model.named_modules():
        layer = find_layer(module)
        if layer is not None and layer.READS_VECTORS and id(module.weight) not in tied:
            dense.append(name)
    if not dense:
        raise UsageError(
            f"The model {type(model).__name__} has no dense layer.",
            hint="Name what to decompose: modules=[...].",
        )
    return dense


def update_config(config: DecomposeConfig | None, settings: dict[str, Any]) -> DecomposeConfig:
    """A config with these fields on top; none stands for the defaults. A wrong one is one sentence, as on the command line."""
    base = (config or DecomposeConfig()).model_dump()
    return validate_config(DecomposeConfig, base | settings, what="decomposition")
