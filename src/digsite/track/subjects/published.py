"""The published 55-run series: reading them, their rules exactly, the repair of their two defects, and a small run recorded so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from digsite.base.errors import NotFound
from digsite.data import load
from digsite.models import build
from digsite.models.config import parse
from digsite.track.core.probe import Probe, targets
from digsite.track.core.series import Series, make_series
from digsite.track.subjects.tracked import TrackedRun

RECORDED = "stable_rank_as_recorded"
COUNT_KEYS = ("transformer", "cnn", "mlp")


@dataclass(frozen=True)
class PublishedRun:
    """One training run; `frame` has one row per sample and layer, steps are training steps."""

    name: str
    arch: str
    dataset: str
    total_steps: int
    frame: pd.DataFrame

    @property
    def family(self) -> str:
        return self.arch.split("_")[0]

    @cached_property
    def layers(self) -> dict[str, pd.DataFrame]:
        """In module order, which is the order of appearance."""
        return {str(name): part for name, part in self.frame.groupby("layer", sort=False)}

    @cached_property
    def loss(self) -> np.ndarray:
        return next(iter(self.layers.values()))["loss"].to_numpy(float)

    def series(self, measure: str) -> Iterator[Series]:
        for depth, (layer, part) in enumerate(self.layers.items()):
            values = recorded_column(part, measure)
            yield make_series(values, part["step"], run=self.name, layer=layer, measure=measure, depth=depth)


def as_tracked(run: PublishedRun, measure: str) -> TrackedRun:
    """A published run as one of our own, so that what draws these draws it too; layers cut to the samples all have."""
    series = list(run.series(measure))
    n = min(len(course.values) for course in series)
    return TrackedRun(
        name=run.name,
        family=run.family,
        arch=run.arch,
        dataset=run.dataset,
        seed=0,
        steps=np.asarray(series[0].steps[:n], dtype=float),
        layers=tuple(course.layer for course in series),
        values={measure: np.stack([course.values[:n] for course in series])},
        loss=run.loss[:n],
    )


def recorded_column(part: pd.DataFrame, measure: str) -> np.ndarray:
    """A recorded column, or the true stable rank: nuclear-norm ratio squared over the participation ratio."""
    if measure == "stable_rank":
        return repaired_stable_rank(part["nuclear_norm_ratio"], part["participation_ratio"])
    return part[measure].to_numpy(float)


def repaired_stable_rank(nuclear_norm_ratio: Any, participation_ratio: Any) -> np.ndarray:
    """(sum s / s1)^2 / ((sum s)^2 / sum s^2) = sum s^2 / s1^2, exactly."""
    return np.asarray(nuclear_norm_ratio, float) ** 2 / np.asarray(participation_ratio, float)


def load_runs(folder: Path) -> list[PublishedRun]:
    """Reads manifest.json and series/*.csv.gz of the ndt_runs folder."""
    if not (folder / "manifest.json").is_file():
        raise NotFound(
            f"The published series are not in '{folder}'.",
            hint="Set DIGSITE_DATA to a folder that holds ndt_runs, or run with source=retrained.",
        )
    manifest = lenient_json((folder / "manifest.json").read_text())
    return [
        PublishedRun(
            entry["experiment"],
            entry["arch"],
            entry["dataset"],
            int(entry["num_steps"]),
            pd.read_csv(folder / "series" / f"{entry['experiment']}.csv.gz"),
        )
        for entry in manifest
    ]


def lenient_json(text: str) -> Any:
    """JSON with bare NaN and Infinity, which are not JSON: they become None, undefined."""
    return json.loads(text, parse_constant=lambda _: None)


def original_jumps(values: np.ndarray, threshold: float = 2.0) -> np.ndarray:
    """Sample indices of the original rule: the difference *starting* there is an outlier."""
    velocity = np.diff(values)
    spread = velocity.std()
    if spread == 0:
        return np.zeros(0, dtype=int)
    return np.flatnonzero(np.abs(velocity - velocity.mean()) / spread > threshold)


def original_stabilization(values: np.ndarray, window: int = 20, share: float = 0.1) -> int | None:
    """First sample whose next twenty have a coefficient of variation under 10 %; it need not stay there."""
    pieces = np.lib.stride_tricks.sliding_window_view(values, window)
    calm = np.flatnonzero(pieces.var(-1) < (share * values.mean()) ** 2)
    return int(calm[0]) if len(calm) else None


def jump_table(runs: list[PublishedRun], measure: str, threshold: float = 2.0) -> pd.DataFrame:
    """The original rule on every layer; `step` is the training step, `published_step` the sample index in its place."""
    rows = []
    for run in runs:
        for series in run.series(measure):
            velocity = np.diff(series.values)
            for i in original_jumps(series.values, threshold):
                rows.append(
                    {
                        "experiment": run.name,
                        "arch_name": run.arch,
                        "family": run.family,
                        "dataset": run.dataset,
                        "layer": series.layer,
                        "depth": series.depth,
                        "step": float(series.steps[i]),
                        "published_step": int(i),
                        "phase": float(series.steps[i]) / run.total_steps,
                        "published_phase": int(i) / run.total_steps,
                        "magnitude": float(abs(velocity[i])),
                        "direction": "up" if velocity[i] > 0 else "down",
                    }
                )
    return pd.DataFrame(rows)


# A small run recorded the way the original recorded its runs, defects included: the comparison without the data.

PROBE_ROWS = 160
BATCH = 32


def train_small_runs(seed: int, steps: int, every: int) -> list[PublishedRun]:
    """One MLP on the bundled digits: Adam at 1e-3, batches of 32, the first 160 test images as the probe."""
    digits = load("digits")
    model = build(parse({"kind": "mlp", "sizes": [64, 64, 32, 10]}), seed)
    wrapped = nn.Sequential(nn.Flatten(), model)
    probe = Probe(digits.x_test[:PROBE_ROWS], n_rows=PROBE_ROWS)
    layers = targets(wrapped, frozenset({"linear"}))
    # Not by the trainer: the original looks at the layers between loss and step, and so does this.
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for step in range(steps):
        batch = torch.randint(len(digits.x_train), (BATCH,), generator=generator)
        loss = nn.functional.cross_entropy(wrapped(digits.x_train[batch]), digits.y_train[batch])
        if step % every == 0:
            captured, _ = probe.run(wrapped, layers)
            rows += [
                {"step": step, "loss": float(loss.detach()), "layer": n, **original_measures(a)}
                for n, a in captured.outputs.items()
            ]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [PublishedRun("mlp_retrained_digits", "mlp_retrained", "digits", steps, pd.DataFrame(rows))]


def original_measures(activations: torch.Tensor) -> dict[str, float]:
    """The original's formulas; its stable rank divides the Frobenius norm by itself."""
    singular = torch.linalg.svdvals(activations).numpy().astype(np.float64)
    frobenius2 = float(torch.norm(activations)) ** 2
    energy = np.cumsum(singular**2) / np.sum(singular**2)
    return {
        RECORDED: frobenius2 / (float(torch.norm(activations, p=2)) ** 2 + 1e-10),
        "participation_ratio": float(singular.sum() ** 2 / np.sum(singular**2)),
        "effective_rank_90": int(np.searchsorted(energy, 0.9)) + 1,
        "nuclear_norm_ratio": float(singular.sum() / singular[0]),
    }
