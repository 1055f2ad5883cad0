"""Measurements of a decomposition on fresh batches, and what metrics and figures look at; a class per metric."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from digsite.config import Config
from digsite.decompose.config import Truth
from digsite.decompose.core.decomposition import Decomposition
from digsite.decompose.judge import score


@dataclass(frozen=True)
class View:
    """What a metric or a figure sees: a decomposition, fresh batches, and a toy model's features where there are any."""

    decomposition: Decomposition
    sample: Callable[[int], Tensor]  # the i-th evaluation batch
    n_batches: int = 1
    n_features: int = 0
    patterns: Mapping[str, Truth] = field(default_factory=dict)
    labels: Callable[[Tensor], Tensor] | None = None  # right answers of a token model
    words: Callable[[int], str] = str
    course: Sequence[score.Row] = ()  # checks against the truth, over the steps of a toy study

    def draw_batches(self) -> Iterator[Tensor]:
        """All evaluation batches; the same every time."""
        return (self.sample(i) for i in range(self.n_batches))

    @cached_property
    def importance(self) -> dict[str, Tensor]:
        """(positions, C) by module over all batches."""
        each = [self.decomposition.importance(batch) for batch in self.draw_batches()]
        return {m: torch.cat([g[m].flatten(0, -2) for g in each]) for m in each[0]}

    @cached_property
    def probes(self) -> dict[str, Tensor]:
        """(features, C) by module: importances when one feature is on at a time."""
        return score.probe_importance(self.decomposition, self.n_features)

    @cached_property
    def order(self) -> dict[str, list[int]]:
        """The column order in which a module's components are shown."""
        patterns = score.match_patterns(self.patterns, list(self.probes))
        orders = {}
        for module, values in self.probes.items():
            array = values.double().cpu().numpy()
            dense = module in patterns and patterns[module].dense
            orders[module] = (
                score.order_by_mass(array) if dense else score.order_to_identity(array)
            ).tolist()
        return orders


class Metric(Config):
    """The settings of one metric, which measure it."""

    kind: Any

    @abstractmethod
    def measure(self, view: View) -> dict[str, float]:
        """Numbers by name; a name has its module last, behind a slash."""


Member = Metric
