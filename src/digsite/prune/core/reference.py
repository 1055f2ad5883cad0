"""The pruning walk as one would write it first: the oracle of the fast walk's test, and the page to read before it.

`walk.py` visits a model in one forward pass, shares what q, k and v read, watches weights that kernels take, and can hold
one layer in memory. All of that is for speed and for other people's models. What it must come to is this.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from digsite.prune.core.layers import LayerBlock, list_blocks
from digsite.prune.core.matrix import prune_matrix
from digsite.prune.core.model import Recipe


@torch.no_grad()
def prune_plainly(
    model: nn.Module, tokens: Int[Tensor, "rows tokens"], recipe: Recipe
) -> dict[str, Bool[Tensor, "_ _"]]:
    """Prune `model` in place, block by block, and return every mask by the name of its map; True is kept.

    For every block the *whole* model runs on `tokens` again, so the block's inputs have passed through the pruned blocks
    before it. That is the one idea of layer-wise pruning; here it costs a full pass per block.
    """
    masks = {}
    for block in list_blocks(model, recipe.include, recipe.exclude):
        inputs = read_block_inputs(model, block, tokens)
        for linear in block.maps:
            pruned = prune_matrix(
                linear.weight,
                inputs[linear.name],
                recipe.method,
                pattern=recipe.pattern,
                swap=recipe.swap,
                settings=recipe.settings,
            )
            linear.replace(pruned.weight)
            masks[linear.name] = pruned.keep
    return masks


def read_block_inputs(
    model: nn.Module, block: LayerBlock, tokens: Int[Tensor, "rows tokens"]
) -> dict[str, Float[Tensor, "rows tokens in"]]:
    """What every map of `block` reads when `model` runs on `tokens`, by the map's name.

    All maps of a block are read before any of them is pruned, as the published loops do it.
    """
    inputs: dict[str, Tensor] = {}

    def keep_input(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[Any, ...]) -> None:
            inputs[name] = args[0].detach()

        return hook

    handles = [linear.module.register_forward_pre_hook(keep_input(linear.name)) for linear in block.maps]
    model.eval()(tokens)
    for handle in handles:
        handle.remove()
    return inputs
