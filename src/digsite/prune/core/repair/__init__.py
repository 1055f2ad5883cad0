"""What happens to the weights that stay, after a mask is chosen: one file per way, on top of any mask.

A member says at which `LEVEL` it works and has the function of that level:

- "map": `repair_map(dense, pruned, inputs, pattern, settings) -> Decision`, one matrix and its input statistics;
- "block": `repair_block(passage, dense, keeps, settings)`, a whole block in place, with the dense block beside it;
- "model": `repair_model(model, dense, tokens, subjects, settings) -> masks`, the whole pruned model in place.

Repairs are applied in the order in which they are named, all "map" ones first, then "block", then "model".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jaxtyping import Bool, Float
from torch import Tensor

from digsite.base import families
from digsite.base.errors import UsageError, name_nearest
from digsite.prune.core.layers import LinearMap
from digsite.prune.core.patterns import Pattern

FAMILY = "digsite.prune.core.repair"
LEVELS = ("map", "block", "model")


class Member(Protocol):
    """What a file of this folder has, beside the function of its level."""

    LEVEL: Any  # 'map', 'block' or 'model'


@dataclass(frozen=True)
class RepairSettings:
    """Numbers of the repairs; the defaults were chosen on calibration text that no reported figure uses."""

    ridge: float = 0.01  # share of the mean input power that pulls a weight back to where it was
    solver_steps: int = 40  # conjugate-gradient steps of a least-squares problem
    correction: float = 1.0  # how much of the error that earlier blocks made is corrected: 0 none, 1 all
    epochs: int = 4  # passes over the calibration rows in `block`, `masked_distillation` and `admm`
    learning_rate: float = 3e-4  # peak of Adam's, with a warm-up and a cosine
    rows: int = 4  # calibration rows of one gradient step
    penalty: float = (
        0.1  # ADMM: share of the way to the nearest sparse point that the last step pulls a weight
    )
    every: int = 8  # ADMM: gradient steps between two projections
    precision: str = "float32"  # of gradient steps; bfloat16 halves their cost where the processor has it
    swaps: int = 30  # most exchanges per row in `swaps`
    seed: int = 0  # order of the rows


@dataclass(frozen=True)
class Subject:
    """A pruned map inside its model: where it is, what stays, and which pattern the mask obeys."""

    one: LinearMap
    keep: Bool[Tensor, "out in"]
    pattern: Pattern

    @property
    def stored_keep(self) -> Tensor:
        """The mask the way round in which the module stores its weight."""
        return self.keep.t() if self.one.transposed else self.keep


def repair_named(name: str) -> str:
    """The family member's name; dashes are as good as underscores."""
    known, member = families.list_members(FAMILY), name.replace("-", "_")
    if member not in known:
        raise UsageError(f"There is no repair '{name}'. {name_nearest(member, known)}")
    return member


def level_of(name: str) -> str:
    """At which level a repair works: 'map', 'block' or 'model'."""
    return families.scan_member(FAMILY, repair_named(name)).LEVEL


def repairs_at(level: str, names: Sequence[str]) -> list[str]:
    """The named repairs of one level, in the order in which they were named."""
    assert level in LEVELS, level
    return [repair_named(name) for name in names if level_of(name) == level]


Masks = Mapping[str, Bool[Tensor, "out in"]]
Weights = Mapping[str, Float[Tensor, "out in"]]
