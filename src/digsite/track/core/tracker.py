"""Two lines in any training loop: measures of every layer on a fixed probe, within a time budget, and the records of them."""

from __future__ import annotations

import warnings
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from types import TracebackType
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.track.core import readout, spectrum
from digsite.track.core.budget import Budget
from digsite.track.core.detect import ALL_CHANGES, LEVEL, finds_of_all, jumps_of_all
from digsite.track.core.jumps import Jump
from digsite.track.core.online import WeightRing
from digsite.track.core.probe import Kind, Probe, Target, as_probe, targets
from digsite.track.core.readout import ReadoutRow, SeenLayer
from digsite.track.core.series import Series, make_series

WATCHED = "centered/participation_ratio_variance"
DEFAULT_KINDS: frozenset[Kind] = frozenset({"linear", "conv", "attention", "residual"})


class Tracker:
    """`with Tracker(model, probe, every=10) as tracker:` and `tracker.step(loss=...)` after each optimizer step.

    A sample is taken at step 0 and then every `every` steps, or at doubling steps up to `every` first with
    `cadence="log"`. Steps in the results are training steps. With a `budget` (a share of the training time) a sample
    takes what fits: first the cheap read-outs of all layers, then spectra and intrinsic dimensions at some samples and
    weights of a few layers in turn. Without one, every sample is complete; weights, measured without noise and dear, are
    read at every `weights_every`-th. A `ring` keeps recent weights and hands them out at a jump.
    """

    def __init__(
        self,
        model: nn.Module,
        probe: Probe | Any,
        every: int = 10,
        *,
        cadence: Literal["linear", "log"] = "linear",
        budget: float | None = 0.02,
        kinds: Iterable[Kind] = DEFAULT_KINDS,
        layers: Iterable[str] | None = None,
        n_rows: int = 128,
        weights: bool = True,
        weights_every: int = 40,
        first_step: int = 0,
        ring: WeightRing | None = None,
        seed: int = 0,
        run: str = "",
    ) -> None:
        if every < 1:
            raise UsageError(f"every={every} is not a number of steps; use 1 or more.")
        self.model, self.every, self.cadence, self.run = model, every, cadence, run
        self.probe = as_probe(probe, seed, n_rows)
        self.budget = Budget(budget)
        self.records = Records()
        self.ring = ring
        self.count = first_step
        self.notes: list[str] = []
        self.targets = _choose_layers(targets(model, frozenset(kinds)), layers)
        self._first_weights = _copy_weights(self.targets) if weights else {}
        self.weights_every = weights_every
        self._backlog = readout.Backlog()
        self._samples = 0
        self._queue: deque[str] = deque()
        self._closed = False
        self.budget.enter_tracker()
        self._take_sample(everything=True)
        self._find_silent()
        self.budget.leave()

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What waits is read also when the training fails."""
        self.close()

    def step(self, loss: float | Tensor | None = None, **values: float) -> None:
        """Count one training step; measure when it is due."""
        self.count += 1
        if not self.due(self.count):
            return self.budget.pass_by()
        self.budget.enter_tracker()
        self._note_loss(self.count, loss, values)
        if self.budget.can_afford("forward", "forward"):
            self._take_sample()
        self.budget.leave()

    def observe(self, step: int, loss: float | None = None) -> None:
        """A complete sample of the model as it is now, for callers that keep their own clock (stored checkpoints)."""
        if step <= self.count and self.records.sampled_steps(self.count) and step != 0:
            raise UsageError(f"Step {step} comes after step {self.count}: the steps must go forward.")
        self.count = step
        self._note_loss(step, loss, {})
        if not self.records.sampled_steps(step):
            self._take_sample(everything=True)

    def due(self, step: int) -> bool:
        """Every so many steps, and doublings before the first of them where that was asked for."""
        doubling = self.cadence == "log" and step < self.every and step & (step - 1) == 0
        return doubling or step % self.every == 0

    def close(self) -> None:
        """A last complete sample, and each sample's likeness to it."""
        if self._closed:
            return
        self._closed = True
        if not self.records.sampled_steps(self.count):
            self._take_sample(everything=True)
        self._take_weights(everything=True)
        self._read_backlog(everything=True)
        self.records.compare_with_last()

    def series(self, measure: str | None = None, layer: str | None = None) -> list[Series]:
        """Measured curves in module order, each with its training steps."""
        self._read_backlog()
        depth = {target.name: target.depth for target in self.targets}
        recorded = self.records.series(self.run, depth)
        return [s for s in recorded if measure in (None, s.measure) and layer in (None, s.layer)]

    def jumps(
        self, measure: str = WATCHED, detector: str = "edge", *, max_q: float = LEVEL
    ) -> list[tuple[str, Jump]]:
        """(layer, jump) over all layers, smooth transitions among them, with q-values for having looked at all layers.

        Only what has a q of at most `max_q` counts as found.
        """
        long_enough = [s for s in self.series(measure) if len(s.values) >= 20]
        by_series = jumps_of_all(long_enough, detector, max_q=max_q, kinds=ALL_CHANGES)
        return [(s.layer, jump) for s, jumps in by_series for jump in jumps]

    def does_not_apply(self, measure: str = WATCHED) -> list[tuple[str, str]]:
        """(layer, reason) of the layers whose curve of this measure the test for jumps cannot judge."""
        long_enough = [s for s in self.series(measure) if len(s.values) >= 20]
        return [(s.layer, f.because) for s, f in finds_of_all(long_enough) if f.because]

    def frame(self) -> pd.DataFrame:
        """Tidy table: run, step, layer, depth, measure, value, rows."""
        return pd.DataFrame([row for s in self.series() for row in _tidy_rows(s, self.probe.n_rows)])

    @property
    def overhead(self) -> float:
        """Measured tracking time over training time, without set-up."""
        return self.budget.overhead

    def _take_sample(self, *, everything: bool = False) -> None:
        """One forward pass, its tables, and what of them is read at once."""
        with self.budget.booked_time("forward", "forward"):
            captured, loss = self.probe.run(self.model, self.targets)
            tables = {name: table.float() for name, table in captured.outputs.items()}
            fresh = [
                readout.see_table(k, self.count, t) for k, t in tables.items() if self._usable_layers(k, t)
            ]
            self._backlog.waiting += fresh
            self.records.keep_geometry(fresh)
            if loss is not None:
                self.records.add("", self.count, {"probe_loss": loss})
        if self._backlog.full or self.ring is not None:
            self._read_backlog()
            self._watch_layers()
        self._take_weights(everything)

    def _read_backlog(self, *, everything: bool = False) -> None:
        """Cheap numbers of all waiting samples, spectra of as many as fit, evenly spaced."""
        steps = self._backlog.steps
        if not steps:
            return
        with self.budget.booked_time("forward", "cheap", len(steps)):
            self.records.take(self._backlog.cheap_rows())
        fits = len(steps) if everything else self.budget.can_afford("decompositions", "spectra", len(steps))
        if fits:
            with self.budget.booked_time("decompositions", "spectra", fits):
                chosen = [steps[(i + 1) * len(steps) // fits - 1] for i in range(fits)]
                self.records.take(self._backlog.costly_rows(chosen))
        self._backlog.waiting.clear()

    def _watch_layers(self) -> None:
        """The ring of weights hears of every new value."""
        if self.ring is not None:
            watched = {t.name: self.records.values(t.name, WATCHED).get(self.count) for t in self.targets}
            self.ring.watch_series(
                self.count, {name: value for name, value in watched.items() if value is not None}
            )

    def _take_weights(self, everything: bool) -> None:
        """Weights in turn, so that every layer is reached even with a small budget."""
        if everything or self._samples % self.weights_every == 0:
            self._queue.extend(name for name in self._first_weights if self._is_unread(name))
        self._samples += 1
        while self._queue and (everything or self.budget.can_afford("decompositions", self._queue[0])):
            name = self._queue.popleft()
            with self.budget.booked_time("decompositions", name):
                self._read_weights(name)

    def _read_weights(self, name: str) -> None:
        """Spectrum and norm of one layer's weights."""
        weight = self.model.get_submodule(name).weight
        assert isinstance(weight, Tensor)
        if not isfinite(float(weight.detach().sum())):
            return self._leave_out(f"The weights of '{name}' were not finite", name)
        gradient = {} if weight.grad is None else {"gradient/norm": float(weight.grad.norm())}
        self.records.add(
            name, self.count, readout.weight_numbers(weight, self._first_weights[name]) | gradient
        )

    def _is_unread(self, name: str) -> bool:
        """Neither read nor waiting."""
        return name not in self._queue and self.count not in self.records.values(name, "weight/norm")

    def _note_loss(self, step: int, loss: float | Tensor | None, values: dict[str, float]) -> None:
        """Numbers that the loop knows itself."""
        numbers = values | ({} if loss is None else {"loss": float(loss)})
        if numbers:
            self.records.add("", step, {name: float(value) for name, value in numbers.items()})

    def _usable_layers(self, name: str, table: Tensor) -> bool:
        """A layer that is not finite is left out and said once."""
        # The sum of a finite table is finite: one pass without a mask.
        if len(table) > 1 and isfinite(float(table.sum())):
            return True
        self._leave_out(f"The activations of '{name}' were not finite or had one row", name)
        return False

    def _leave_out(self, why: str, name: str) -> None:
        """As a hole in its series: a missing sample and not a bridged one."""
        self.records.count_hole(name, self.count)
        self._say_holes(f"{why} at step {self.count}; left out.")

    def _find_silent(self) -> None:
        """A layer that the probe never reaches would else be missing without a word."""
        for target in self.targets:
            if not self.records.layers_seen(target.name) and not self.records.holes(target.name):
                self._say_holes(f"The layer '{target.name}' never ran on the probe and is not tracked.")

    def _say_holes(self, text: str) -> None:
        """Each thing once."""
        if text not in self.notes:
            self.notes.append(text)
            warnings.warn(text, stacklevel=4)


def _choose_layers(watched: list[Target], layers: Iterable[str] | None) -> list[Target]:
    """As named, refused with the nearest name."""
    from digsite.base.errors import name_nearest

    if layers is not None:
        known = {target.name for target in watched}
        for name in (layers := list(layers)):
            if name not in known:
                raise UsageError(f"The model has no layer '{name}' to track. {name_nearest(name, known)}")
        watched = [target for target in watched if target.name in layers]
    if not watched:
        raise UsageError("The model has no layer that can be tracked.", hint="Pass kinds=... or layers=...")
    return watched


def _copy_weights(watched: list[Target]) -> dict[str, Tensor]:
    """Copies of all weight matrices and kernels."""
    weights = {target.name: getattr(target.module, "weight", None) for target in watched}
    return {name: w.detach().clone() for name, w in weights.items() if isinstance(w, Tensor) and w.ndim > 1}


def _tidy_rows(series: Series, n_rows: int) -> Iterator[dict[str, object]]:
    """One row for each value, as plotting libraries want them."""
    for step, value in zip(series.steps, series.values, strict=True):
        yield {
            "run": series.run,
            "step": int(step),
            "layer": series.layer,
            "depth": series.depth,
            "measure": series.measure,
            "value": value,
            "rows": n_rows,
        }


# The records: values by layer and measure on their own training steps, as a budget leaves different samples to each.

GEOMETRY_ROWS = 48  # of each sample's Gram, kept so that everything can be compared with the end


class Records:
    """Values by layer, measure and step."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
        self._holes: dict[str, list[int]] = defaultdict(list)
        self._geometry: dict[str, dict[int, Tensor]] = defaultdict(dict)
        self.singular: dict[str, dict[int, Tensor]] = defaultdict(dict)

    def add(self, layer: str, step: int, values: Mapping[str, float]) -> None:
        """A later value at the same step replaces the earlier."""
        for measure, value in values.items():
            self._values[layer, measure][step] = value

    def take(self, rows: Iterable[ReadoutRow]) -> None:
        """What a backlog has read."""
        for row in rows:
            self.add(row.layer, row.step, row.values)
            if row.singular is not None:
                self.singular[row.layer][row.step] = row.singular

    def count_hole(self, layer: str, step: int) -> None:
        """A sample that could not be measured; it stays in the series as a marked hole."""
        self._holes[layer].append(step)

    def holes(self, layer: str) -> list[int]:
        """Steps at which nothing could be measured."""
        return self._holes.get(layer, [])

    def layers_seen(self, layer: str) -> bool:
        """Whether the layer has ever been read."""
        return layer in self._geometry

    def steps(self) -> list[int]:
        """All steps at which something was seen."""
        return sorted({step for kept in self._geometry.values() for step in kept})

    def sampled_steps(self, step: int) -> bool:
        """Whether any layer was read at this step."""
        return any(step in values for values in self._geometry.values())

    def keep_geometry(self, fresh: Iterable[SeenLayer]) -> None:
        """A corner of each Gram matrix, for comparisons with the end."""
        for layer in fresh:
            self._geometry[layer.layer][layer.step] = layer.rows.rows[:GEOMETRY_ROWS, :GEOMETRY_ROWS].clone()

    def compare_with_last(self) -> None:
        """Likeness of every sample to the last one, known only now."""
        for name, kept in self._geometry.items():
            steps = sorted(kept)
            stack = torch.stack([kept[s] for s in steps])
            if stack.shape[-1] > 3:
                values = spectrum.cka(stack, stack[-1:].expand_as(stack)).tolist()
                self._values[name, "cka_to_final"] = dict(zip(steps, values, strict=True))

    def values(self, layer: str, measure: str) -> Mapping[int, float]:
        """By training step."""
        return self._values.get((layer, measure), {})

    def series(self, run: str, depth: Mapping[str, int]) -> list[Series]:
        """Every series with its holes as NaN."""
        recorded = []
        for (layer, measure), values in self._values.items():
            missing = {step: float("nan") for step in self.holes(layer) if step not in values}
            both = dict(sorted((values | missing).items()))
            recorded.append(
                make_series(
                    np.array(list(both.values())),
                    np.array(list(both)),
                    run=run,
                    layer=layer,
                    measure=measure,
                    depth=depth.get(layer, -1),
                )
            )
        return sorted(recorded, key=lambda s: (s.depth, s.measure))
