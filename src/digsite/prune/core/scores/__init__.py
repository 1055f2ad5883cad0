"""Ways to choose which weights go: every class of this folder with `WeightScore` as its base, several in a file."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from jaxtyping import Bool, Float
from torch import Tensor

from digsite.base.errors import UsageError, name_nearest
from digsite.prune.core.inputs import InputStatistics
from digsite.prune.core.patterns import SparsityPattern, prune_groups, prune_together

FAMILY = "digsite.prune.core.scores"


Given = Mapping[str, float]  # numbers of one method by name; a truth value is 0 or 1


@dataclass(frozen=True)
class NoSettings:
    """Of a method that has no numbers of its own."""


def fill_settings(method: str, kind: type, given: Given) -> Any:
    """The method's settings with the given numbers in place of its defaults, each as the type of the field.

    `kind` is a dataclass of numbers and truth values, `given` its fields by name. It is checked here and not by a config,
    so that a score of anybody's own can be set from a config and from the command line without being known there.
    """
    known = {setting.name: type(setting.default) for setting in fields(kind)}
    for name, value in given.items():
        if name not in known:
            accepted = name_nearest(name, known) if known else "It has none."
            raise UsageError(f"The method '{method}' has no setting '{name}'. {accepted}")
        whole = known[name] in (int, bool)
        if not math.isfinite(value) or (whole and value != int(value)):
            kinds = {int: "whole number", bool: "truth value (0 or 1)", float: "finite number"}
            raise UsageError(f"The setting '{name}' of '{method}' is a {kinds[known[name]]}, not {value}.")
    return kind(**{name: known[name](value) for name, value in given.items()})


@dataclass(frozen=True)
class Decision:
    """Which weights stay, and what the weights are afterwards; `moved` where those that stay may be others than before."""

    keep: Bool[Tensor, "out in"]
    weight: Float[Tensor, "out in"]
    note: str = ""
    moved: bool = True


def mask_weight(weight: Float[Tensor, "out in"], pruned: Bool[Tensor, "out in"], note: str = "") -> Decision:
    """The decision of a method that updates nothing: `pruned` weights become zero, all others stay what they are."""
    return Decision(~pruned, weight.masked_fill(pruned, 0), note, moved=False)


class WeightScore(ABC):
    """A pruning method. Most are a score and a rule which weights compete; those override nothing else.

    `NEEDS` says what is read of the inputs: nothing (''), their 'norms', or the whole 'gram' matrix, which costs a
    square of the width per token and is collected only for methods that say so.
    """

    NEEDS: ClassVar[str] = ""
    Settings: ClassVar[type] = NoSettings
    """A frozen dataclass of the method's own numbers with their published defaults."""

    def __init__(self, settings: Given | None = None) -> None:
        self.settings: Any = fill_settings(type(self).__name__.lower(), self.Settings, settings or {})

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
