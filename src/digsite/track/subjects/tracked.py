"""A tracked training run in plain arrays, and the tracker inside other people's training loops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from digsite.base.errors import require_package
from digsite.track.core.readout import KEPT
from digsite.track.core.series import Series, make_series
from digsite.track.core.tracker import Tracker


@dataclass(frozen=True)
class TrackedRun:
    """One network's training; `layers` are in module order and every measure shares the steps."""

    name: str
    family: str
    arch: str
    dataset: str
    seed: int
    steps: np.ndarray
    layers: tuple[str, ...]
    values: dict[str, np.ndarray] = field(repr=False)  # measure -> (layers, samples)
    loss: np.ndarray = field(repr=False)  # on the fixed probe
    accuracy: float | None = None
    spectra: Tensor | None = field(default=None, repr=False)  # (samples, layers, largest), of the first seed

    def series(self, measure: str) -> list[Series]:
        return [
            make_series(row, self.steps, run=self.name, layer=layer, measure=measure, depth=depth)
            for depth, (layer, row) in enumerate(zip(self.layers, self.values[measure], strict=True))
        ]


def pack_trackers(trackers: Sequence[Tracker], measures: Sequence[str]) -> dict[str, Any]:
    """Complete samples of trackers on one grid, as tensors (member, layer, sample)."""
    first = trackers[0]
    layers = [t.name for t in first.targets if first.records.layers_seen(t.name)]
    steps = first.series(measures[0], layers[0])[0].steps
    return {
        "spectra": _largest_singular(first, layers, steps),
        "layers": layers,
        "steps": torch.as_tensor(steps),
        "loss": torch.stack([_sample_row(t, "", "probe_loss", steps) for t in trackers]),
        "values": {
            m: torch.stack(
                [torch.stack([_sample_row(t, layer, m, steps) for layer in layers]) for t in trackers]
            )
            for m in measures
        },
    }


def _largest_singular(tracker: Tracker, layers: Sequence[str], steps: np.ndarray) -> Tensor:
    """Largest centered singular values, (samples, layers, KEPT); nan where there are fewer or none was taken."""
    out = torch.full((len(steps), len(layers), KEPT), torch.nan)
    for k, layer in enumerate(layers):
        singular = tracker.records.singular[layer]
        for i, step in enumerate(steps):
            values = singular.get(int(step), torch.empty(0))
            out[i, k, : len(values)] = values
    return out


def _sample_row(tracker: Tracker, layer: str, measure: str, steps: np.ndarray) -> Tensor:
    """A sample that is missing becomes a hole."""
    values = tracker.records.values(layer, measure)
    return torch.tensor([values.get(int(step), float("nan")) for step in steps], dtype=torch.float64)


def unpack_runs(stored: dict[str, Any], labels: dict[str, str], seeds: Sequence[int]) -> list[TrackedRun]:
    """One run per member; `labels` hold name, family, arch and dataset."""
    return [
        TrackedRun(
            name=f"{labels['name']}_seed{seed}",
            family=labels["family"],
            arch=labels["arch"],
            dataset=labels["dataset"],
            seed=seed,
            steps=np.asarray(stored["steps"], dtype=float),
            layers=tuple(stored["layers"]),
            values={m: np.asarray(v[i], dtype=float) for m, v in stored["values"].items()},
            loss=np.asarray(stored["loss"][i], dtype=float),
            accuracy=float(stored["accuracy"][i]) if "accuracy" in stored else None,
            spectra=stored["spectra"] if i == 0 else None,
        )
        for i, seed in enumerate(seeds)
    ]


# Hugging Face Trainer and Lightning, both optional: neither is imported before it is asked for.


def transformers_callback(probe: Any, every: int = 10, **options: Any) -> Any:
    """A `transformers.TrainerCallback`; its `tracker` is there once training begins.

    `probe` is a batch of inputs or a `Probe`, `every` the steps between samples, `options` those of `Tracker`.
    """
    transformers = require_package("transformers", extra="hub")

    class TrackerCallback(transformers.TrainerCallback):
        tracker: Tracker | None = None

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.tracker = Tracker(kwargs["model"], probe, every, first_step=state.global_step, **options)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if self.tracker is not None:
                last = state.log_history[-1].get("loss") if state.log_history else None
                self.tracker.step(last)

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if self.tracker is not None:
                self.tracker.close()

    return TrackerCallback()


def lightning_callback(probe: Any, every: int = 10, **options: Any) -> Any:
    """A `lightning.Callback`; one step per batch that ends with an optimizer step.

    `probe` is a batch of inputs or a `Probe`, `every` the steps between samples, `options` those of `Tracker`.
    """
    lightning = require_package("lightning", extra="lightning")

    class TrackerCallback(lightning.Callback):
        tracker: Tracker | None = None

        def on_train_start(self, trainer: Any, module: Any) -> None:
            self.tracker = Tracker(module, probe, every, first_step=trainer.global_step, **options)

        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
            if self.tracker is not None and trainer.global_step > self.tracker.count:
                self.tracker.step(outputs["loss"] if isinstance(outputs, dict) else outputs)

        def on_train_end(self, trainer: Any, module: Any) -> None:
            if self.tracker is not None:
                self.tracker.close()

    return TrackerCallback()
