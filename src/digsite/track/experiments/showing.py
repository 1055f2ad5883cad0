"""Courses of the layers for the dashboard: one curve per layer, bands over seeds, jumps as marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from digsite.track.subjects.tracked import TrackedRun

if TYPE_CHECKING:
    from digsite.worker.run import Run

SHOWN = 6  # networks of one kind; further ones are in the tables
MARKS = 12


def show_courses(
    run: Run, runs: Sequence[TrackedRun], measure: str, jumps: Mapping[str, Sequence[float]]
) -> None:
    """`jumps` are steps by the name of a run."""
    for (arch, dataset), seeds in list(_have_same_layers(runs).items())[:SHOWN]:
        name = f"{arch} on {dataset}" if dataset else arch
        stored = f"courses/{arch}-{dataset}-{measure.replace('/', '_')}"
        table, bands = show_member_course(seeds, measure)
        run.table(stored, table)
        steps = sorted({step for member in seeds for step in jumps.get(member.name, ())})[:MARKS]
        options: dict[str, Any] = {"band": bands} if bands else {}
        run.view(
            f"{name}: {measure}",
            kind="curve",
            source=f"tables/{stored}.csv",
            x="step",
            y=list(seeds[0].layers),
            x_label="training step",
            y_label=measure.replace("_", " "),
            marks=[{"x": float(step), "label": "jump"} for step in steps],
            **options,
        )


def show_spectra(run: Run, runs: Sequence[TrackedRun]) -> None:
    """Singular values of each layer at a step, with a slider along training, of the first seed of each kind."""
    for (arch, dataset), (first, *_) in list(_have_same_layers(runs).items())[:SHOWN]:
        if first.spectra is None:
            continue
        largest = first.spectra.amax(-1, keepdim=True)
        share = (first.spectra / largest).masked_fill(first.spectra <= 0, torch.nan)
        name = f"spectra/{arch}-{dataset}" if dataset else f"spectra/{arch}"
        run.tensors(name, {"spectra": share, "steps": torch.as_tensor(first.steps).long()})
        run.view(
            f"{arch}{' on ' if dataset else ''}{dataset}: spectra at a step",
            kind="curve",
            source=f"artifacts/{name}.safetensors#spectra",
            scrub="#steps",
            scrub_label="training step",
            names=list(first.layers),
            x_label="singular value of the centered activations",
            y_label="share of the largest",
            log_y=True,
        )


def show_member_course(seeds: Sequence[TrackedRun], measure: str) -> tuple[pd.DataFrame, list[list[str]]]:
    """Means over seeds, and the least and the greatest of them when there are several."""
    first = seeds[0]
    values = np.stack([member.values[measure] for member in seeds])  # (seeds, layers, samples)
    columns: dict[str, np.ndarray] = {"step": first.steps}
    bands = []
    for i, layer in enumerate(first.layers):
        columns[layer] = values[:, i].mean(axis=0)
        if len(seeds) > 1:
            columns |= {
                f"{layer} least": values[:, i].min(axis=0),
                f"{layer} greatest": values[:, i].max(axis=0),
            }
            bands.append([f"{layer} least", f"{layer} greatest"])
    return pd.DataFrame(columns), bands


def _have_same_layers(runs: Sequence[TrackedRun]) -> dict[tuple[str, str], list[TrackedRun]]:
    """Runs of one architecture on one dataset that were sampled at the same steps."""
    groups: dict[tuple[str, str], list[TrackedRun]] = {}
    for tracked in runs:
        same = groups.setdefault((tracked.arch, tracked.dataset), [])
        if not same or (np.array_equal(same[0].steps, tracked.steps) and same[0].layers == tracked.layers):
            same.append(tracked)
    return groups
