"""What happens to the weights that stay, after a mask is chosen: on top of any mask, in any combination.

Every class of this folder with `Repair` as its base is one; a file may hold several. Repairs are applied in the order in
which they are named, all of "map" first, then "block", then "model".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Bool, Float
from torch import Tensor, nn

from digsite.base import families
from digsite.base.errors import UsageError, name_nearest
from digsite.prune.core.inputs import InputStatistics
from digsite.prune.core.layers import LinearMap
from digsite.prune.core.patterns import SparsityPattern
from digsite.prune.core.scores import Decision

FAMILY = "digsite.prune.core.repair"
LEVELS = ("map", "block", "model")


@dataclass(frozen=True)
class RepairSettings:
    """Numbers of the repairs; the defaults were chosen on calibration text that no reported figure uses."""

    ridge: float = 0.01  # share of the mean input power that pulls a weight back to where it was
    solver_steps: int = 12  # of conjugate gradients in least squares: 40 gain less than 1 % of the loss
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
class PrunedSubject:
    """A pruned map inside its model: where it is, what stays, and which pattern the mask obeys."""

    linear: LinearMap
    keep: Bool[Tensor, "out in"]
    pattern: SparsityPattern

    @property
    def stored_keep(self) -> Tensor:
        """The mask the way round in which the module stores its weight."""
        return self.keep.t() if self.linear.transposed else self.keep


Masks = Mapping[str, Bool[Tensor, "out in"]]
Weights = Mapping[str, Float[Tensor, "out in"]]


class Repair:
    """A way to refit what stays. A member says at which `LEVEL` it works and has the function of that level."""

    LEVEL: ClassVar[str] = ""  # 'map', 'block' or 'model'

    def __init_subclass__(cls) -> None:
        """A repair says at which level it works and has the function of that level, checked when its file is
        read.
        """
        name = f"repair_{cls.LEVEL}"
        if cls.LEVEL not in LEVELS or getattr(cls, name) is getattr(Repair, name):
            raise TypeError(
                f"{cls.__name__} has LEVEL '{cls.LEVEL}' and no function of one of {', '.join(LEVELS)}"
            )

    def repair_map(
        self,
        dense: Float[Tensor, "out in"],
        pruned: Decision,
        inputs: InputStatistics,
        pattern: SparsityPattern,
        settings: RepairSettings,
    ) -> Decision:
        """One matrix, from its weights before pruning, what was decided, and statistics of the inputs it now gets."""
        raise NotImplementedError

    def repair_block(self, passage: Any, dense: Weights, keeps: Masks, settings: RepairSettings) -> None:
        """A whole block in place. `passage` runs it and has the dense block beside it; `dense` are its weights before."""
        raise NotImplementedError

    def repair_model(
        self,
        model: nn.Module,
        dense: nn.Module,
        tokens: Tensor,
        subjects: Sequence[PrunedSubject],
        settings: RepairSettings,
    ) -> dict[str, Bool[Tensor, "out in"]]:
        """The whole pruned model in place, beside a copy of the `dense` one, on rows of `tokens`; the masks it ends with."""
        raise NotImplementedError


Member = Repair  # found by its name: the classes of this folder that derive from it


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
