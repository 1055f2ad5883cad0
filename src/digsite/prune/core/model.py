"""Prune a whole model layer by layer, each calibrated on the output of the pruned layers before it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from digsite.base import families
from digsite.base.contract import public_method
from digsite.base.errors import UsageError
from digsite.models.opening.feeding import one_batch
from digsite.prune.core import matrix
from digsite.prune.core.budget import FAMILY as ALLOCATIONS
from digsite.prune.core.budget import BudgetSettings, allocation_named, ask_about, meet_exactly
from digsite.prune.core.budget.search import outlier_share, spread_by_outliers
from digsite.prune.core.inputs import InputStatistics
from digsite.prune.core.layers import LayerBlock, LinearMap, list_blocks
from digsite.prune.core.packed import PackedMask, pack
from digsite.prune.core.patterns import SparsityPattern
from digsite.prune.core.repair import RepairSettings, level_of, repair_named, repairs_at
from digsite.prune.core.repair.maps import UNDER, say_short
from digsite.prune.core.repairing import Chosen, Repaired, prune_and_repair
from digsite.prune.core.scores import Given
from digsite.prune.core.scores.wanda import Wanda
from digsite.prune.core.walk import Batch, InMemory, Residency, Statistics, walk_blocks

SAMPLE = 512  # inputs on which an output error is measured where X^T X is not needed
UNROUTED = "no calibration token was routed to this expert: pruned by magnitude"


@dataclass(frozen=True)
class Recipe:
    """How to prune: method, pattern, which maps, and what comes after."""

    method: str = "wanda"
    pattern: SparsityPattern = field(default_factory=lambda: SparsityPattern(0.5))
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    swap: int = 0
    owl: bool = False
    owl_threshold: float = 5.0
    owl_spread: float = 0.08
    settings: Given = field(default_factory=dict)  # numbers of the method, by name
    repair: tuple[str, ...] = ()
    repair_settings: RepairSettings = field(default_factory=RepairSettings)
    allocation: str = ""
    budget_settings: BudgetSettings = field(default_factory=BudgetSettings)

    def __post_init__(self) -> None:
        for name in self.repair:  # a mistyped repair is said before an hour of pruning, not after it
            repair_named(name)
        if self.allocation:
            allocation_named(self.allocation)
        if self.allocation and self.pattern.structured:
            raise UsageError(
                f"The allocation '{self.allocation}' gives maps different sparsities, and the pattern {self.pattern} "
                "fixes one for all.",
                hint="Give --sparsity instead of --pattern, or leave out the allocation.",
            )
        if self.owl and self.pattern.structured:
            raise UsageError(
                f"OWL gives layers different sparsities, and the pattern {self.pattern} fixes one for all."
            )


@dataclass(frozen=True)
class PrunedMap:
    """One line of the ledger, and the mask it is about: in bits, since the masks of a whole model are held. `moved`:
    whether weights that stay may be others than the dense ones.
    """

    name: str
    mask: PackedMask
    sparsity: float
    relative_error: float | None
    note: str = ""
    moved: bool = True

    @property
    def keep(self) -> Bool[Tensor, "out in"]:
        """The mask, unpacked."""
        return torch.from_numpy(self.mask.unpack())


class PruneProgress:
    """What is finished already; this one remembers nothing."""

    def has(self, block: LayerBlock) -> bool:
        """Whether `block` was finished before."""
        return False

    def restore(self, block: LayerBlock) -> list[PrunedMap]:
        """The weights of a finished block put back, and its lines."""
        raise NotImplementedError

    def keep(self, block: LayerBlock, lines: Sequence[PrunedMap]) -> None:
        """Called when a block is finished."""


@public_method()
def prune_model(
    model: nn.Module,
    inputs: Any,
    recipe: Recipe,
    *,
    masks: Mapping[str, np.ndarray] | None = None,
    residency: Residency | None = None,
    on_map: Callable[[PrunedMap], None] | None = None,
    progress: PruneProgress | None = None,
    costs: dict[str, float] | None = None,
    counts: Mapping[str, int] | None = None,
    measure: bool = True,
    precision: str = "float32",
) -> list[PrunedMap]:
    """Prune `model` in place. `inputs` are token rows (sequences, tokens), a batch, a dict, or a loader of these.

    With `masks`, made before and checked by the caller, the `recipe` only says which maps. `residency` says when a
    layer's weights are in memory, `on_map` hears of each pruned map. `progress` gives back what an interrupted run had
    finished, and keeps what this one finishes. `costs` takes up the CPU-seconds of the mask and of every repair, by
    name. `counts` says how many weights of every map go, where that is known better than by one sparsity or an
    allocation. `measure=False` leaves out relative errors where only they need X^T X. `precision="bfloat16"` runs the calibration
    passes in it, at half their cost where the processor has it.
    """
    blocks = list_blocks(model, recipe.include, recipe.exclude)
    inputs = one_batch(inputs)
    patterns = (
        _allocate_patterns(model, blocks, inputs, recipe, residency)
        if counts is None
        else _count_patterns(blocks, counts)
    )
    ledger = _ModelLedger(recipe, patterns, masks, progress or PruneProgress(), on_map, inputs is not None)
    if inputs is None:
        _check_inputs_unneeded(recipe, masks is not None)
        _without_inputs(blocks, ledger.prune_block, residency or InMemory())
        return ledger.lines
    exact, missed = _reads_grams(recipe), []
    seen = {"gram": exact, "sample": SAMPLE if measure and not exact else 0, "precision": precision}
    how: dict[str, Any] = {**seen, "residency": residency, "costs": costs, "missed": missed}
    repaired = prune_and_repair(
        model,
        blocks,
        inputs,
        recipe.repair,
        recipe.repair_settings,
        ledger.prune_block,
        known=ledger.done.has,
        **how,
    )
    _name_missed(blocks, missed, ledger.tell)
    return [_after_repair(line, repaired.get(line.name), recipe, inputs) for line in ledger.lines]


@dataclass
class _ModelLedger:
    """The lines of a pruning as they are made, block by block."""

    recipe: Recipe
    patterns: Mapping[str, SparsityPattern]
    masks: Mapping[str, np.ndarray] | None
    done: PruneProgress
    on_map: Callable[[PrunedMap], None] | None
    has_data: bool
    lines: list[PrunedMap] = field(default_factory=list)

    def tell(self, line: PrunedMap) -> PrunedMap:
        """Each line is told when it is made: a pruning takes hours."""
        self.lines.append(line)
        if self.on_map:
            self.on_map(line)
        return line

    def prune_block(self, block: LayerBlock, statistics: Statistics) -> dict[str, Chosen]:
        """Prune the maps of a block, or take them from what an interrupted run has left."""
        if self.done.has(block):
            made = [self.tell(line) for line in self.done.restore(block)]
        else:
            wanted = [linear for linear in block.maps if self.masks is None or linear.name in self.masks]
            made = [
                self._prune(linear, _seen_or_unknown(linear, statistics, self.has_data)) for linear in wanted
            ]
            self.done.keep(block, made)
        return {line.name: Chosen(line.mask, self._pattern(line.name)) for line in made}

    def _pattern(self, name: str) -> SparsityPattern:
        """The map's own sparsity where an allocation gave it one."""
        return self.patterns.get(name, self.recipe.pattern)

    def _prune(self, linear: LinearMap, seen: InputStatistics | str | None) -> PrunedMap:
        """With the given mask, or with one that is made now."""
        mask = None if self.masks is None else torch.from_numpy(self.masks[linear.name])
        return self.tell(_prune_map(linear, seen, self.recipe, self._pattern(linear.name), mask))


def _name_missed(
    blocks: Sequence[LayerBlock], missed: Sequence[str], tell: Callable[[PrunedMap], PrunedMap]
) -> None:
    """Layers that the data never reached are lines of the ledger too; if that is all of them, nothing was pruned."""
    if len(missed) == len(blocks):
        raise UsageError(f"The forward pass on this data reaches none of the {len(blocks)} layers.")
    for linear in (linear for block in blocks if block.name in missed for linear in block.maps):
        tell(_leave_map(linear, "left as it is: this data never reaches it"))


def _reads_grams(recipe: Recipe) -> bool:
    """Whether the method, the swaps or a repair of single maps needs X^T X, beside the errors of the ledger."""
    return matrix.need_of(recipe.method) == "gram" or bool(recipe.swap or repairs_at("map", recipe.repair))


def _check_inputs_unneeded(recipe: Recipe, has_masks: bool) -> None:
    """Without calibration data only methods that look at no inputs can run, and nothing can be repaired."""
    if recipe.repair:
        raise UsageError(
            f"The repair '{recipe.repair[0]}' fits on inputs, and there is no calibration data.",
            hint="Give --calibration, or leave out the repair.",
        )
    if not has_masks and (matrix.need_of(recipe.method) or recipe.swap):
        raise UsageError(
            f"The method '{recipe.method}' looks at inputs, and there is no calibration data.",
            hint="Give --calibration, or use the method magnitude.",
        )


def _seen_or_unknown(linear: LinearMap, statistics: Statistics, data: bool) -> InputStatistics | str | None:
    """Statistics, stand-ins for an expert that no token was routed to, or why there are none."""
    if linear.name in statistics or not data:
        return statistics.get(linear.name)
    if linear.routed:
        return UNROUTED
    return "left as it is: no product with it was seen, so its inputs are not known"


def _leave_map(linear: LinearMap, reason: str) -> PrunedMap:
    """A line of the ledger that says why nothing was done."""
    return PrunedMap(
        linear.name, pack(np.ones(tuple(linear.weight.shape), bool)), 0.0, None, reason, moved=False
    )


def prune_maps(
    maps: Sequence[LinearMap],
    recipe: Recipe,
    masks: Mapping[str, np.ndarray] | None = None,
    on_map: Callable[[PrunedMap], None] | None = None,
) -> list[PrunedMap]:
    """Prune matrices that no model holds, by a method that looks at no inputs, or with masks of their own."""
    ledger = []
    for linear in maps:
        if masks is not None and linear.name not in masks:
            continue
        mask = None if masks is None else torch.from_numpy(masks[linear.name])
        ledger.append(_prune_map(linear, None, recipe, recipe.pattern, mask))
        if on_map:
            on_map(ledger[-1])
    return ledger


def _after_repair(line: PrunedMap, repaired: Repaired | None, recipe: Recipe, inputs: Batch) -> PrunedMap:
    """The ledger's line with the mask and the error that the repairs left."""
    later = [repair_named(name) for name in recipe.repair if level_of(name) != "map"]
    if not later or repaired is None:
        return line
    n_tokens = inputs.numel() if isinstance(inputs, Tensor) else line.mask.n_bits
    short = "sub_block" in later and n_tokens < line.mask.n_bits and UNDER not in line.note
    ridge = say_short(n_tokens) if short else ""
    note = "; ".join(filter(None, [line.note, ridge, f"then {', '.join(later)}"]))
    mask = pack(repaired.keep.cpu().numpy())
    sparsity = 1.0 - float(repaired.keep.float().mean())
    return replace(line, mask=mask, sparsity=sparsity, relative_error=repaired.relative_error, note=note)


def _without_inputs(blocks: Sequence[LayerBlock], visit: Callable, store: Residency) -> None:
    """Every block without a forward pass, for methods that look at weights alone."""
    for block in blocks:
        store.load(block)
        visit(block, {})
        store.release(block)


def _prune_map(
    linear: LinearMap,
    inputs: InputStatistics | str | None,
    recipe: Recipe,
    pattern: SparsityPattern,
    mask: Tensor | None,
) -> PrunedMap:
    """One map and its line; an expert that saw no token is pruned as if all inputs were alike, and the line
    says so.
    """
    note = ""
    if isinstance(inputs, str):
        if inputs != UNROUTED:
            return _leave_map(linear, inputs)
        note, inputs = UNROUTED, InputStatistics.unknown(linear.n_inputs, linear.stored.device)
    if mask is not None:
        done = matrix.apply_mask(
            linear.weight, mask, inputs, repair=recipe.repair, repair_settings=recipe.repair_settings
        )
    else:
        done = matrix.prune_matrix(
            linear.weight,
            inputs,
            recipe.method,
            pattern=pattern,
            swap=recipe.swap,
            settings=recipe.settings,
            repair=recipe.repair,
            repair_settings=recipe.repair_settings,
            name=linear.name,
        )
    linear.replace(done.weight)
    error = None if note else done.relative_error
    return PrunedMap(
        linear.name,
        pack(done.keep.cpu().numpy()),
        done.sparsity,
        error,
        "; ".join(filter(None, [note, done.note])),
        done.moved,
    )


def _count_patterns(blocks: list[LayerBlock], counts: Mapping[str, int]) -> dict[str, SparsityPattern]:
    """Exact counts as patterns; the ratio that methods start from stays inside (0, 1)."""
    patterns = {}
    for linear in (linear for block in blocks for linear in block.maps):
        size = linear.weight.numel()
        ratio = min(max(counts[linear.name] / size, 1 / size), 1 - 1 / size)
        patterns[linear.name] = SparsityPattern(ratio, count=counts[linear.name])
    return patterns


def _allocate_patterns(
    model: nn.Module, blocks: list[LayerBlock], inputs: Any, recipe: Recipe, residency: Residency | None
) -> dict[str, SparsityPattern]:
    """What an allocation gives every map: a sparsity and, but for the older `owl`, an exact count of weights."""
    if recipe.owl:
        ratios = _owl_ratios(model, blocks, inputs, recipe, residency)
        return {linear.name: SparsityPattern(ratios[block.name]) for block in blocks for linear in block.maps}
    if not recipe.allocation:
        return {}
    if inputs is None:
        raise UsageError(f"The allocation '{recipe.allocation}' measures, and there is no calibration data.")
    if not isinstance(inputs, Tensor):
        raise UsageError(
            f"The allocation '{recipe.allocation}' measures on token rows, which this model does not take alone."
        )
    settings, sparsity = recipe.budget_settings, recipe.pattern.ratio
    member = families.scan_member(ALLOCATIONS, allocation_named(recipe.allocation))()
    question = ask_about(model, blocks, inputs, sparsity, rows=settings.rows, residency=residency)
    low, high = question.limits(settings.spread)
    counts = meet_exactly(
        member.allocate_sparsity(question, settings), question.sizes, sparsity, least=low, most=high
    )
    return {
        name: SparsityPattern(count / question.sizes[name], count=count) for name, count in counts.items()
    }


def _owl_ratios(
    model: nn.Module,
    blocks: list[LayerBlock],
    inputs: Batch | None,
    recipe: Recipe,
    residency: Residency | None,
) -> dict[str, float]:
    """OWL's sparsity of every layer, from one pass through the dense model."""
    if not recipe.owl:
        return {}
    if inputs is None:
        raise UsageError("OWL measures outlying scores, and there is no calibration data.")
    shares: dict[str, float] = {}

    def measure(block: LayerBlock, statistics: Statistics) -> None:
        scores = [
            Wanda().score_weights(linear.weight, statistics[linear.name])
            for linear in block.maps
            if linear.name in statistics
        ]
        shares[block.name] = outlier_share(scores, recipe.owl_threshold) if scores else 0.0

    walk_blocks(model, blocks, inputs, measure, residency=residency, gram=False)
    ratios = spread_by_outliers(list(shares.values()), recipe.pattern.ratio, recipe.owl_spread)
    return dict(zip(shares, ratios, strict=True))
