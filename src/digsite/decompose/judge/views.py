"""What metrics and figures look at: a decomposition, fresh batches, and a toy model's features where there are any."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from digsite.decompose.config import Truth
from digsite.decompose.core.decomposition import Decomposition
from digsite.decompose.judge import score, truth


@dataclass(frozen=True)
class View:
    found: Decomposition
    sample: Callable[[int], Tensor]  # the i-th evaluation batch
    n_batches: int = 1
    n_features: int = 0
    patterns: Mapping[str, Truth] = field(default_factory=dict)
    labels: Callable[[Tensor], Tensor] | None = None  # right answers of a token model
    words: Callable[[int], str] = str
    course: Sequence[score.Row] = ()  # checks against the truth, over the steps of a toy study

    def batches(self) -> Iterator[Tensor]:
        return (self.sample(i) for i in range(self.n_batches))

    @cached_property
    def importance(self) -> dict[str, Tensor]:
        """(positions, C) by module over all batches."""
        found = [self.found.importance(batch) for batch in self.batches()]
        return {m: torch.cat([g[m].flatten(0, -2) for g in found]) for m in found[0]}

    @cached_property
    def probes(self) -> dict[str, Tensor]:
        return score.probe_importance(self.found, self.n_features)

    @cached_property
    def order(self) -> dict[str, list[int]]:
        """The column order in which a module's components are shown."""
        patterns = score.wanted(self.patterns, list(self.probes))
        orders = {}
        for module, values in self.probes.items():
            array = values.double().cpu().numpy()
            dense = module in patterns and patterns[module].dense
            orders[module] = (truth.to_dense(array) if dense else truth.to_identity(array)).tolist()
        return orders
