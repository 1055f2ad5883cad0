"""What a tracker has measured so far: values by layer and measure on their own training steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from digsite.track.core import similarity
from digsite.track.core.readout import Row, Seen
from digsite.track.core.series import Series, make_series

GEOMETRY_ROWS = 48  # of each sample's Gram, kept so that everything can be compared with the end


class Records:
    def __init__(self) -> None:
        self._values: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
        self._holes: dict[str, list[int]] = defaultdict(list)
        self._geometry: dict[str, dict[int, Tensor]] = defaultdict(dict)
        self.singular: dict[str, dict[int, Tensor]] = defaultdict(dict)

    def add(self, layer: str, step: int, values: Mapping[str, float]) -> None:
        for measure, value in values.items():
            self._values[layer, measure][step] = value

    def take(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.add(row.layer, row.step, row.values)
            if row.singular is not None:
                self.singular[row.layer][row.step] = row.singular

    def hole(self, layer: str, step: int) -> None:
        """A sample that could not be measured; it stays in the series as a marked hole."""
        self._holes[layer].append(step)

    def holes(self, layer: str) -> list[int]:
        return self._holes.get(layer, [])

    def seen(self, layer: str) -> bool:
        return layer in self._geometry

    def steps(self) -> list[int]:
        """All steps at which something was seen."""
        return sorted({step for kept in self._geometry.values() for step in kept})

    def sampled(self, step: int) -> bool:
        return any(step in values for values in self._geometry.values())

    def keep_geometry(self, fresh: Iterable[Seen]) -> None:
        for one in fresh:
            self._geometry[one.layer][one.step] = one.rows.rows[:GEOMETRY_ROWS, :GEOMETRY_ROWS].clone()

    def compare_with_last(self) -> None:
        for name, kept in self._geometry.items():
            steps = sorted(kept)
            stack = torch.stack([kept[s] for s in steps])
            if stack.shape[-1] > 3:
                values = similarity.cka(stack, stack[-1:].expand_as(stack)).tolist()
                self._values[name, "cka_to_final"] = dict(zip(steps, values, strict=True))

    def values(self, layer: str, measure: str) -> Mapping[int, float]:
        """By training step."""
        return self._values.get((layer, measure), {})

    def series(self, run: str, depth: Mapping[str, int]) -> list[Series]:
        found = []
        for (layer, measure), values in self._values.items():
            missing = {step: float("nan") for step in self.holes(layer) if step not in values}
            both = dict(sorted((values | missing).items()))
            found.append(
                make_series(
                    np.array(list(both.values())),
                    np.array(list(both)),
                    run=run,
                    layer=layer,
                    measure=measure,
                    depth=depth.get(layer, -1),
                )
            )
        return sorted(found, key=lambda s: (s.depth, s.measure))
