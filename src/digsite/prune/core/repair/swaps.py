"""Exchanges of one pruned and one kept weight of a row, wherever that lowers the map's output error (2512.10922)."""

from jaxtyping import Float
from torch import Tensor

from digsite.prune.core import swaps
from digsite.prune.core.inputs import InputStatistics
from digsite.prune.core.patterns import Pattern
from digsite.prune.core.repair import RepairSettings
from digsite.prune.core.scores import Decision

LEVEL = "map"


def repair_map(
    dense: Float[Tensor, "out in"],
    pruned: Decision,
    inputs: InputStatistics,
    pattern: Pattern,
    settings: RepairSettings,
) -> Decision:
    """A better mask with the weights before pruning: a method's own update made up for the errors of another mask."""
    keep, made = swaps.refine(dense, pruned.keep, inputs.gram, pattern, settings.swaps)
    note = "; ".join(filter(None, [pruned.note, f"{made} swaps"]))
    return Decision(keep, dense.masked_fill(~keep, 0), note)
