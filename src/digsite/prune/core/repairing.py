"""Prune a model block by block and repair it on the way, beside the dense model that it was."""

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from digsite.base import families
from digsite.base.errors import UsageError
from digsite.prune.core.layers import LayerBlock, linear_map
from digsite.prune.core.matrix import output_error
from digsite.prune.core.packed import PackedMask
from digsite.prune.core.patterns import SparsityPattern
from digsite.prune.core.repair import FAMILY, PrunedSubject, RepairSettings, repairs_at
from digsite.prune.core.two_streams import Passage, walk_both
from digsite.prune.core.walk import Batch, Residency, Statistics, walk_blocks


@dataclass(frozen=True)
class Chosen:
    """What pruning one map decided: its mask, and the pattern that the mask obeys. Bits: those of a whole model are held."""

    mask: PackedMask
    pattern: SparsityPattern

    @property
    def keep(self) -> Bool[Tensor, "out in"]:
        """The mask, unpacked."""
        return torch.from_numpy(self.mask.unpack())


@dataclass(frozen=True)
class Repaired:
    """A map after all repairs; `relative_error` is None where a later repair of the whole model made it stale."""

    keep: Bool[Tensor, "out in"]
    relative_error: float | None


PruneBlock = Callable[[LayerBlock, Statistics], dict[str, Chosen]]


def prune_and_repair(
    model: nn.Module,
    blocks: list[LayerBlock],
    inputs: Batch,
    repairs: Sequence[str],
    settings: RepairSettings,
    prune_block: PruneBlock,
    *,
    residency: Residency | None = None,
    costs: dict[str, float] | None = None,
    gram: bool = True,
    sample: int = 0,
    **walks: Any,
) -> dict[str, Repaired]:
    """Call `prune_block` for every block as `walk` does, and the named repairs of blocks and of the model after it.

    `gram=False` leaves out X^T X where neither the method nor a repair of maps reads it; errors are then measured on the
    `sample` of inputs that the walk keeps. `walks` are its other arguments (`known`, `missed`, `precision`), which play
    no part beside repairs of blocks: those run both networks, in the precision of their own settings.
    `costs` takes up CPU-seconds: 'mask' for pruning (with the repairs of single maps), and every repair by its name.
    """
    spent: dict[str, float] = {} if costs is None else costs
    at_blocks, at_model = repairs_at("block", repairs), repairs_at("model", repairs)
    _check_repairs(blocks, inputs, at_blocks, at_model, residency)
    dense = copy.deepcopy(model) if at_model else None
    chosen: dict[str, tuple[Chosen, float | None]] = {}

    def visit(block: LayerBlock, statistics: Statistics, passage: Passage | None = None) -> None:
        chosen.update(_prune_one_block(block, statistics, passage, at_blocks, settings, prune_block, spent))

    with charge_seconds(spent, "forward passes", minus=("mask", *at_blocks)):
        if at_blocks:
            assert isinstance(inputs, Tensor)  # checked above
            both: dict[str, Any] = {"gram": gram or sample > 0, "precision": settings.precision}
            walk_both(model, blocks, inputs, lambda p, s: visit(p.block, s, p), residency=residency, **both)
        else:
            walks |= {"gram": gram, "sample": sample, "residency": residency}
            walk_blocks(model, blocks, inputs, visit, **walks)
    if not at_blocks and not at_model:
        return {}  # the lines that pruning wrote stand
    keeps = {name: linear.keep for name, (linear, _) in chosen.items()}
    patterns = {name: linear.pattern for name, (linear, _) in chosen.items()}
    maps = {linear.name: linear for block in blocks for linear in block.maps}
    for name in at_model:
        subjects = [PrunedSubject(maps[n], keep, patterns[n]) for n, keep in keeps.items()]
        member = families.scan_member(FAMILY, name)()
        with charge_seconds(spent, name):
            keeps = member.repair_model(model, dense, inputs, subjects, settings)
    return {name: Repaired(keeps[name], None if at_model else error) for name, (_, error) in chosen.items()}


def _check_repairs(
    blocks: Sequence[LayerBlock],
    inputs: Batch,
    at_blocks: Sequence[str],
    at_model: Sequence[str],
    residency: Residency | None,
) -> None:
    """Repairs that this model, or the way it is held, does not allow."""
    if at_model and residency is not None:
        raise UsageError(
            f"The repair '{at_model[0]}' needs the whole model in memory, which a streamed one is not.",
            hint="Use repairs of maps and blocks with --stream: least_squares, sub_block, block.",
        )
    if (at_blocks or at_model) and (odd := _not_called(blocks, inputs)):
        raise UsageError(
            f"The repairs of blocks and models take token rows and maps that are modules; {odd}.",
            hint="Repairs of single maps (least_squares, swaps) work here.",
        )


def _not_called(blocks: Sequence[LayerBlock], inputs: Batch) -> str:
    """Why the dense network cannot be carried beside this one; nothing where it can."""
    if not isinstance(inputs, Tensor):
        return "this model takes several inputs by name"
    fused = [
        linear.name
        for block in blocks
        for linear in block.maps
        if linear_map(linear.name, linear.module) is None
    ]
    return f"{len(fused)} maps are parts of a fused one, first {fused[0]}" if fused else ""


def _prune_one_block(
    block: LayerBlock,
    statistics: Statistics,
    passage: Passage | None,
    repairs: Sequence[str],
    settings: RepairSettings,
    prune_block: PruneBlock,
    spent: dict[str, float],
) -> dict[str, tuple[Chosen, float | None]]:
    """Prune the block, repair it, and measure what every map now does to its inputs."""
    before = {linear.name: linear.weight.clone() for linear in block.maps} if repairs else {}
    with charge_seconds(spent, "mask"):
        made = prune_block(block, statistics)
    for name in repairs if passage is not None else []:
        with charge_seconds(spent, name):
            member = families.scan_member(FAMILY, name)()
            member.repair_block(passage, before, {n: c.keep for n, c in made.items()}, settings)
    return {
        linear.name: (
            made[linear.name],
            output_error(before[linear.name], linear.weight, statistics.get(linear.name))
            if repairs
            else None,
        )
        for linear in block.maps
        if linear.name in made
    }


@contextmanager
def charge_seconds(spent: dict[str, float], name: str, minus: Sequence[str] = ()) -> Iterator[None]:
    """Add the CPU-seconds spent inside to `spent[name]`, less what was charged to `minus` meanwhile."""
    start, others = time.process_time(), sum(spent.get(m, 0.0) for m in minus)
    try:
        yield
    finally:
        inside = sum(spent.get(m, 0.0) for m in minus) - others
        spent[name] = spent.get(name, 0.0) + time.process_time() - start - inside
