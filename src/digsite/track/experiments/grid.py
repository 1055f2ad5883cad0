"""Study: the original's grid, trained as ensembles over seeds and analyzed with calibrated rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor, nn

from digsite.base.errors import UsageError, nearest
from digsite.models import build
from digsite.track.config import GridConfig
from digsite.track.core.detect import jumps_of_all
from digsite.track.core.members import EnsembleTracker
from digsite.track.core.probe import Probe
from digsite.track.experiments.showing import show_courses, show_spectra
from digsite.track.figures import courses as figures
from digsite.track.figures import dashboard
from digsite.track.judge import phases
from digsite.track.judge.phases import Phase1
from digsite.track.subjects import grid
from digsite.track.subjects.grid import Cell
from digsite.track.subjects.tracked import TrackedRun, pack, unpack
from digsite.train import Member, evaluate, train_ensemble
from digsite.worker.run import Run


def grid_study(config: GridConfig, run: Run) -> None:
    runs = trained_grid(config, run)
    result = phases.phase1(runs, config.measure, run.rng("nulls"), run.derive("typology") % 2**31)
    _tables(config, run, runs, result)
    _figures(config, run, runs, result)
    claims(run, runs, result)
    run.verdict(verdict(runs, result), on=["jumps_per_layer/*"])


def trained_grid(config: GridConfig, run: Run) -> list[TrackedRun]:
    """Every cell, one ensemble after the other; a finished cell is not trained again after a restart."""
    if config.measure not in config.measures:
        raise UsageError(
            f"The measure '{config.measure}' is not stored. {nearest(config.measure, config.measures)}"
        )
    chosen = grid.cells(config.sets, config.families, config.archs)
    if not chosen:
        raise UsageError("No cell of the grid is left with these sets, families and shapes.")
    seeds = grid.seeds_of(config.seed, config.seeds)
    run.stage("training the grid", len(chosen))
    runs: list[TrackedRun] = []
    for done, cell in enumerate(chosen):
        stored = run.once(f"cell-{cell.name}", lambda cell=cell: train_cell(config, cell))
        runs += unpack(
            stored,
            {"name": cell.name, "family": cell.family, "arch": cell.arch, "dataset": cell.dataset},
            seeds,
        )
        run.breathe(done + 1)
    return runs


@dataclass(frozen=True)
class Recipe:
    """Everything that trains one cell; the same recipe gives the same weights."""

    model: nn.Module
    data: tuple[Tensor, Tensor]
    members: list[Member]
    probe: Probe
    test: tuple[Tensor, Tensor]


def cell_recipe(config: GridConfig, cell: Cell) -> Recipe:
    task = grid.fitted(cell, grid.load_task(cell.dataset, config.n_train, config.side, config.seed))
    batch = config.text_batch if task.vocab and cell.family == "transformer" else config.batch
    seeds = grid.seeds_of(config.seed, config.seeds)
    x, y = grid.probe_rows(task, config.rows)
    return Recipe(
        model=build(grid.model_config(cell, task)),
        data=(grid.inputs(cell, task.x_train), task.y_train),
        members=[
            Member(seed=s, lr=config.lr, batch=batch, steps=config.steps, optimizer="adam") for s in seeds
        ],
        probe=Probe(grid.inputs(cell, x), y, n_rows=config.rows),
        test=(grid.inputs(cell, task.x_test), task.y_test),
    )


def train_cell(config: GridConfig, cell: Cell) -> dict[str, Any]:
    recipe = cell_recipe(config, cell)
    tracker = EnsembleTracker(recipe.probe, config.every, kinds=grid.targets_of(cell), weights=False)
    trained = train_ensemble(recipe.model, recipe.data, recipe.members, callback=tracker, every=config.every)
    scores = evaluate(trained.ensemble, *recipe.test)
    return pack(tracker.trackers, config.measures) | {"accuracy": scores.accuracy.double()}


def claims(run: Run, runs: list[TrackedRun], result: Phase1) -> None:
    """Rates with intervals over runs, beside what the detector finds in shuffled increments."""
    edge = result.detectors.set_index("detector").loc["edge"]
    for row in phases.rate_by(result.jumps, result.layers, "family").itertuples():
        run.claim(
            f"jumps_per_layer/{row.family}",
            row.rate,
            low=row.low,
            high=row.high,
            n=int(row.runs),
            null=float(edge.null_per_series),
            unit="jumps",
            note="null: smoothed series, new noise",
        )
    for name, low, high in (("early", 0, 0.1), ("mid", 0.1, 0.5), ("late", 0.5, 1.01)):
        inside = result.jumps.phase.between(low, high, inclusive="left")
        share = float(inside.mean()) if len(result.jumps) else None
        run.claim(
            f"share_of_jumps/{name}",
            share,
            null=min(high, 1) - low,
            n=len(result.jumps),
            note="share of training",
        )
    claim_coordination(run, result)
    settled = result.layers.kind.value_counts(normalize=True)
    run.claim(
        "layers_converged",
        float(settled.get("converged", 0.0)),
        n=len(result.layers),
        note="stays in its band",
    )
    orders = result.convergence.order.value_counts()
    for name in ("bottom-up", "top-down", "simultaneous"):
        null = 0.025 * len(runs) if name != "simultaneous" else None
        run.claim(
            f"runs/{name}",
            int(orders.get(name, 0)),
            n=len(runs),
            null=null,
            note="permutation over depth, p < .05",
        )
    run.claim("jump_clusters", result.kinds.k, null=1, note="gap statistic; 1 means no clusters")


def claim_coordination(run: Run, result: Phase1) -> None:
    """Whether layers move fast together, and whether the loss falls when they do."""
    coordinated = result.critical
    if len(coordinated):
        beyond = float((coordinated.coordination_p < 0.05).mean())
        run.claim(
            "runs_with_coordination",
            beyond,
            null=0.05,
            n=len(coordinated),
            note="beyond circular shifts, p < .05",
        )
        link = coordinated.loss_difference.dropna()
        error = 1.96 * float(link.std(ddof=1)) / np.sqrt(len(link)) if len(link) > 1 else None
        mean = float(link.mean())
        low, high = (None, None) if error is None else (mean - error, mean + error)
        run.claim(
            "loss_falls_at_fast_samples",
            mean,
            low=low,
            high=high,
            n=len(link),
            null=0.0,
            note="share minus base rate",
        )


def verdict(runs: list[TrackedRun], result: Phase1) -> str:
    edge = result.detectors.set_index("detector").loc["edge"]
    zscore = result.detectors.set_index("detector").loc["zscore"]
    late = float((result.jumps.phase >= 0.5).mean()) if len(result.jumps) else 0.0
    kinds = "fall into no clusters" if result.kinds.k == 1 else f"fall into {result.kinds.k} clusters"
    return (
        f"In {len(runs)} runs the calibrated test finds {edge.per_series:.2f} jumps per layer "
        f"where smoothed series with new noise give {edge.null_per_series:.2f}; "
        f"the original rule finds {zscore.per_series:.1f} against {zscore.null_per_series:.1f}. "
        f"{late:.0%} of the calibrated jumps lie in the second half of training, and they {kinds}."
    )


def _tables(config: GridConfig, run: Run, runs: list[TrackedRun], result: Phase1) -> None:
    run.table("all_jumps_detailed", result.jumps)
    run.table("critical_periods_detailed", result.critical)
    run.table("convergence", result.convergence)
    run.table("layer_settling", result.layers)
    run.table("detectors", result.detectors)
    run.table("jumps_by_measure", _by_measure(config, runs))
    run.table(
        "runs",
        pd.DataFrame([{**phases.labels(r), "accuracy": r.accuracy, "layers": len(r.layers)} for r in runs]),
    )
    run.json("jump_clustering_results", phases.without_holes(phases.clustering_summary(result.kinds)))
    run.json("convergence_analysis_summary", phases.without_holes(result.convergence.to_dict("records")))
    run.json("critical_periods_summary", phases.without_holes(result.critical.to_dict("records")))


def _by_measure(config: GridConfig, runs: list[TrackedRun]) -> pd.DataFrame:
    """Calibrated jumps per layer series of every stored measure, in the first seed: do measures agree?"""
    first = [r for r in runs if r.seed == runs[0].seed]
    rows = []
    for measure in config.measures:
        series = [s for r in first for s in r.series(measure) if len(s.values) >= 20]
        found = jumps_of_all(series)
        constant = sum(s.constant for s in series)
        counts = [len(jumps) for _, jumps in found]
        rows.append(
            {
                "measure": measure,
                "series": len(series),
                "constant": constant,
                "jumps_per_series": float(np.mean(counts)) if counts else None,
            }
        )
    return pd.DataFrame(rows)


def _heatmaps(run: Run, shown: list[TrackedRun], name: str, result: Phase1) -> None:
    for one in shown:
        picture = figures.layer_heatmap(one, name, [j for j in result.found if j[0].run == one.name])
        caption = f"{name} of each layer against its own range; ticks are jumps."
        run.figure(f"heatmaps/{one.name}", picture, caption=caption)


def _figures(config: GridConfig, run: Run, runs: list[TrackedRun], result: Phase1) -> None:
    name = config.measure
    phase = {
        f: result.jumps.phase[result.jumps.family == f].to_numpy(float)
        for f in sorted(set(result.jumps.family))
    }
    if phase:
        run.figure(
            "jump_times",
            figures.phase_histograms(phase),
            result.jumps,
            caption="When calibrated jumps happen.",
        )
    rates = phases.rate_by(result.jumps, result.layers, "arch_name")
    edge = float(result.detectors.set_index("detector").loc["edge"].null_per_series)
    run.figure(
        "jumps_per_architecture",
        dashboard.rates(rates, "arch_name", edge),
        rates,
        caption="Calibrated jumps per layer with intervals over runs; the gray line is the null.",
    )
    run.figure("executive_dashboard", dashboard.dashboard(runs, result), caption="Ten panels on one page.")
    run.figure(
        "architectures",
        dashboard.architecture_page(result),
        caption="Six panels on the architecture families.",
    )
    busiest = max(runs, key=lambda r: sum(len(j) for s, j in result.found if s.run == r.name))
    run.figure(
        "velocity",
        figures.velocity_and_acceleration(busiest, name),
        caption="Speed and change of speed of each layer, and the share of layers that are fast at once.",
    )
    if config.heatmaps:
        _heatmaps(run, [r for r in runs if r.seed == runs[0].seed], name, result)
    steps = {str(key): list(group["step"]) for key, group in result.jumps.groupby("experiment")}
    show_courses(run, runs, name, steps)
    show_spectra(run, runs)
    run.view("jumps", "table", "tables/all_jumps_detailed.csv")
