"""Ways to choose which weights go: every class of this folder with `WeightScore` as its base, several in a file."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor

from digsite.prune.core.inputs import InputStatistics
from digsite.prune.core.patterns import SparsityPattern, prune_groups, prune_together

FAMILY = "digsite.prune.core.scores"


@dataclass(frozen=True)
class ScoreSettings:
    """Numbers of the methods, with the published defaults."""

    block: int = 128  # columns of a SparseGPT block
    damping: float = 0.01  # share of the mean Hessian diagonal added to it
    power: float = 0.5  # exponent of the activation norm in RIA
    per_row: bool = False  # RIA: compare inside a row instead of the whole matrix
    bits: int = 0  # SparseGPT: round what stays to so many bits in the same sweep; 0 leaves it as it is


@dataclass(frozen=True)
class Decision:
    """Which weights stay, and what the weights are afterwards (changed only by methods that update them)."""

    keep: Bool[Tensor, "out in"]
    weight: Float[Tensor, "out in"]
    note: str = ""


def mask_weight(weight: Float[Tensor, "out in"], pruned: Bool[Tensor, "out in"], note: str = "") -> Decision:
    """The decision of a method that updates nothing: `pruned` weights become zero, all others stay what they are."""
    return Decision(~pruned, weight.masked_fill(pruned, 0), note)


class WeightScore(ABC):
    """A pruning method. Most are a score and a rule which weights compete; those override nothing else.

    `NEEDS` says what is read of the inputs: nothing (''), their 'norms', or the whole 'gram' matrix, which costs a
    square of the width per token and is collected only for methods that say so.
    """

    NEEDS: ClassVar[str] = ""

    def __init__(self, settings: ScoreSettings | None = None) -> None:
        self.settings = settings or ScoreSettings()

    @abstractmethod
    def score_weights(
        self, weight: Float[Tensor, "out in"], inputs: InputStatistics | None
    ) -> Float[Tensor, "out in"]:
        """How much every weight is worth; the lowest go first."""

    def choose_pruned(self, scores: Float[Tensor, "out in"], ratio: float) -> Bool[Tensor, "out in"]:
        """True where a weight goes. All weights of the matrix compete, unless a method compares them otherwise."""
        return prune_together(scores, ratio)

    def prune_weight(
        self, weight: Float[Tensor, "out in"], inputs: InputStatistics | None, pattern: SparsityPattern
    ) -> Decision:
        """Mask the matrix; in an n:m pattern the score decides inside every group, whatever it competes with else."""
        scores = self.score_weights(weight, inputs)
        if pattern.structured:
            return mask_weight(weight, prune_groups(scores, pattern))
        return mask_weight(weight, self.choose_pruned(scores, pattern.ratio))


Member = WeightScore  # found by its name: the classes of this folder that derive from it
