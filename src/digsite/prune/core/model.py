"""Prune a whole model layer by layer, each calibrated on the output of the pruned layers before it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.prune.core import allocation, matrix
from digsite.prune.core.inputs import InputStatistics
from digsite.prune.core.layers import Block, LinearMap, blocks
from digsite.prune.core.packed import PackedMask, pack
from digsite.prune.core.patterns import Pattern
from digsite.prune.core.scores import Settings, wanda
from digsite.prune.core.walk import InMemory, Residency, Statistics, walk


@dataclass(frozen=True)
class Recipe:
    """How to prune: method, pattern, which maps, and what comes after."""

    method: str = "wanda"
    pattern: Pattern = field(default_factory=lambda: Pattern(0.5))
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    swap: int = 0
    owl: bool = False
    owl_threshold: float = 5.0
    owl_spread: float = 0.08
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        if self.owl and self.pattern.structured:
            raise UsageError(
                f"OWL gives layers different sparsities, and the pattern {self.pattern} fixes one for all."
            )


@dataclass(frozen=True)
class PrunedMap:
    """One line of the ledger, and the mask it is about: in bits, since the masks of a whole model are held."""

    name: str
    mask: PackedMask
    sparsity: float
    relative_error: float | None
    note: str = ""

    @property
    def keep(self) -> Bool[Tensor, "out in"]:
        return torch.from_numpy(self.mask.unpack())


def prune_model(
    model: nn.Module,
    inputs: Tensor | None,
    recipe: Recipe,
    *,
    masks: Mapping[str, np.ndarray] | None = None,
    residency: Residency | None = None,
    on_map: Callable[[PrunedMap], None] | None = None,
) -> list[PrunedMap]:
    """Prune in place. `inputs` are token rows (sequences, tokens), or whatever batch the model takes.

    With `masks`, made before and checked by the caller, the recipe only says which maps.
    """
    found = blocks(model, recipe.include, recipe.exclude)
    ledger: list[PrunedMap] = []
    ratios = _ratios(model, found, inputs, recipe, residency)

    def visit(block: Block, statistics: Statistics) -> None:
        for one in block.maps:
            if masks is not None and one.name not in masks:
                continue
            mask = None if masks is None else torch.from_numpy(masks[one.name])
            ledger.append(_prune_map(one, statistics.get(one.name), recipe, ratios.get(block.name), mask))
            if on_map:
                on_map(ledger[-1])

    if inputs is None:
        if masks is None and (matrix.needs(recipe.method) or recipe.swap):
            raise UsageError(
                f"The method '{recipe.method}' looks at inputs, and there is no calibration data.",
                hint="Give --calibration, or use the method magnitude.",
            )
        _without_inputs(found, visit, residency or InMemory())
    else:
        walk(model, found, inputs, visit, residency=residency)
    return ledger


def _without_inputs(found: Sequence[Block], visit: Callable, store: Residency) -> None:
    for block in found:
        store.load(block)
        visit(block, {})
        store.release(block)


def _prune_map(
    one: LinearMap, inputs: InputStatistics | None, recipe: Recipe, ratio: float | None, mask: Tensor | None
) -> PrunedMap:
    if mask is not None:
        done = matrix.apply_mask(one.weight, mask, inputs)
    else:
        pattern = recipe.pattern if ratio is None else Pattern(ratio)
        done = matrix.prune_matrix(
            one.weight,
            inputs,
            recipe.method,
            pattern=pattern,
            swap=recipe.swap,
            settings=recipe.settings,
            name=one.name,
        )
    one.replace(done.weight)
    return PrunedMap(one.name, pack(done.keep.cpu().numpy()), done.sparsity, done.relative_error, done.note)


def _ratios(
    model: nn.Module, found: list[Block], inputs: Tensor | None, recipe: Recipe, residency: Residency | None
) -> dict[str, float]:
    """OWL's sparsity of every layer, from one pass through the dense model."""
    if not recipe.owl:
        return {}
    if inputs is None:
        raise UsageError("OWL measures outlying scores, and there is no calibration data.")
    shares: dict[str, float] = {}

    def measure(block: Block, statistics: Statistics) -> None:
        scores = [wanda.score(one.weight, statistics[one.name], recipe.settings) for one in block.maps]
        shares[block.name] = allocation.outlier_share(scores, recipe.owl_threshold) if scores else 0.0

    walk(model, found, inputs, measure, residency=residency, gram=False)
    ratios = allocation.owl(list(shares.values()), recipe.pattern.ratio, recipe.owl_spread)
    return dict(zip(shares, ratios, strict=True))
