"""Study: the original's grid, trained as ensembles over seeds and analyzed with calibrated rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor, nn

from digsite.base.errors import UsageError, name_nearest
from digsite.base.intervals import seed_interval
from digsite.models import build
from digsite.record.verdict import cite
from digsite.track.config import GridConfig
from digsite.track.core.detect import jumps_of_all
from digsite.track.core.members import EnsembleTracker
from digsite.track.core.probe import Probe
from digsite.track.experiments.showing import show_courses, show_spectra
from digsite.track.figures import courses as figures
from digsite.track.figures import dashboard
from digsite.track.judge import phases, prediction
from digsite.track.judge.phases import Phase1
from digsite.track.subjects import grid
from digsite.track.subjects.grid import Cell
from digsite.track.subjects.tracked import TrackedRun, pack_trackers, unpack_runs
from digsite.train import Member, evaluate, train_ensemble
from digsite.worker.run import Run


def study_grid(config: GridConfig, run: Run) -> None:
    """Train, analyze, draw, claim."""
    runs = trained_grid(config, run)
    result = phases.analyze_phase1(runs, config.measure, run.rng("nulls"), run.derive("typology") % 2**31)
    _write_grid_tables(config, run, runs, result)
    _draw_grid(config, run, runs, result)
    claims(run, runs, result)
    claim_prediction(run, runs, result)
    run.headline(
        ["jumps_per_layer/*", "share_of_jumps/late", "runs_with_coordination"], hero="jumps_per_architecture"
    )
    run.verdict(grid_verdict(runs, result), on=["jumps_per_layer/*"])


def trained_grid(config: GridConfig, run: Run) -> list[TrackedRun]:
    """Every cell, one ensemble after the other; a finished cell is not trained again after a restart."""
    if config.measure not in config.measures:
        raise UsageError(
            f"The measure '{config.measure}' is not stored. {name_nearest(config.measure, config.measures)}"
        )
    chosen = grid.list_cells(config.sets, config.families, config.archs)
    if not chosen:
        raise UsageError("No cell of the grid is left with these sets, families and shapes.")
    seeds = grid.spread_seeds(config.seed, config.seeds)
    run.stage("training the grid", len(chosen))
    runs: list[TrackedRun] = []
    for done, cell in enumerate(chosen):
        stored = run.once(f"cell-{cell.name}", lambda cell=cell: train_cell(config, cell, run))
        runs += unpack_runs(
            stored,
            {"name": cell.name, "family": cell.family, "arch": cell.arch, "dataset": cell.dataset},
            seeds,
        )
        run.let_signals_in(done + 1)
    return runs


@dataclass(frozen=True)
class GridRecipe:
    """Everything that trains one cell; the same recipe gives the same weights."""

    model: nn.Module
    data: tuple[Tensor, Tensor]
    members: list[Member]
    probe: Probe
    test: tuple[Tensor, Tensor]


def cell_recipe(config: GridConfig, cell: Cell) -> GridRecipe:
    """What is trained and watched in one cell."""
    task = grid.fit_task(cell, grid.load_task(cell.dataset, config.n_train, config.side, config.seed))
    batch = config.text_batch if task.vocab and cell.family == "transformer" else config.batch
    seeds = grid.spread_seeds(config.seed, config.seeds)
    x, y = grid.probe_rows(task, config.rows)
    return GridRecipe(
        model=build(grid.model_config(cell, task, config.patches)),
        data=(grid.cell_inputs(cell, task.x_train), task.y_train),
        members=[
            Member(seed=s, lr=config.lr, batch=batch, steps=config.steps, optimizer="adam") for s in seeds
        ],
        probe=Probe(grid.cell_inputs(cell, x), y, n_rows=config.rows),
        test=(grid.cell_inputs(cell, task.x_test), task.y_test),
    )


def train_cell(config: GridConfig, cell: Cell, run: Run) -> dict[str, Any]:
    """All seeds of one cell at once."""
    recipe = cell_recipe(config, cell)

    def write_journal(step: int, values: dict[str, float]) -> None:
        run.log(step, **{f"{cell.name}/{name}": value for name, value in values.items()})

    tracker = EnsembleTracker(
        recipe.probe,
        config.every,
        kinds=grid.targets_of(cell),
        weights=False,
        listen=write_journal,
        shown=[config.measure],
    )
    trained = train_ensemble(recipe.model, recipe.data, recipe.members, callback=tracker, every=config.every)
    scores = evaluate(trained.ensemble, *recipe.test)
    return pack_trackers(tracker.trackers, config.measures) | {"accuracy": scores.accuracy.double()}


def claims(run: Run, runs: list[TrackedRun], result: Phase1) -> None:
    """Rates with intervals over networks, beside what the detector finds in smooth courses with new noise."""
    claim_rates(run, result)
    run.claim("networks", len(runs), kind="count", title="Networks trained")
    phase = result.jumps.phase if len(result.jumps) else pd.Series(dtype=float)
    for name, low, high in (("early", 0, 0.1), ("mid", 0.1, 0.5), ("late", 0.5, 1.01)):
        hits = int(phase.between(low, high, inclusive="left").sum())
        beside = {"null": min(high, 1) - low, "null_is": "spread evenly over training"}
        title = f"Jumps in the {PARTS_OF_TRAINING[name]} of training"
        run.claim_share(f"share_of_jumps/{name}", hits, len(phase), title=title, **beside)
    claim_coordination(run, result)
    claim_settling(run, result)
    title, null_is = "Kinds of jumps by the gap statistic", "one kind of jump"
    run.claim("jump_clusters", result.kinds.k, null=1, null_is=null_is, kind="count", title=title)


def claim_rates(run: Run, result: Phase1) -> None:
    """Jumps per layer, by family and by detector."""
    table = result.detectors.set_index("detector")
    edge, zscore = table.loc["edge"], table.loc["zscore"]
    null_is = "false alarms in a cubic course of each series, what it leaves in new phases"
    false = {"null": float(edge.null_per_series), "null_is": null_is, "unit": "jumps"}
    for row in phases.rate_by(result.jumps, result.layers, "family").to_dict("records"):
        run.claim(
            f"jumps_per_layer/{row['family']}",
            row["median"],
            low=row["low"],
            high=row["high"],
            n=int(row["runs"]),
            kind="median",
            better="higher",
            title=f"Jumps per layer, {row['family']} (median network)",
            note=f"mean {row['rate']:.3g}",
            **false,
        )
    title = "Jumps per layer, calibrated test"
    run.claim("jumps_per_layer/edge", float(edge.per_series), title=title, **false)
    false |= {"null": float(zscore.null_per_series), "title": "Jumps per layer, the original's rule"}
    run.claim("jumps_per_layer/zscore", float(zscore.per_series), **false)


def claim_coordination(run: Run, result: Phase1) -> None:
    """Whether layers move fast together, and whether the loss falls when they do, beside networks of other seeds."""
    critical = result.critical
    coordinated = critical[critical.other_seeds > 0] if len(critical) else critical
    if len(coordinated):
        hits = int((coordinated.coordination_p < 0.05).sum())
        beside = {"null": 0.05, "null_is": "the level of the test"}
        title = "Networks whose layers are fast together beyond layers of other seeds"
        run.claim_share("runs_with_coordination", hits, len(coordinated), title=title, **beside)
        over = seed_interval(coordinated.loss_difference.dropna().tolist(), "difference")
        run.claim(
            "loss_falls_at_fast_samples",
            over.value,
            interval=over,
            null=0.0,
            kind="difference",
            null_is="losses of other seeds at the same samples",
            title="Falls of the loss at fast samples, beyond other seeds'",
        )


def claim_settling(run: Run, result: Phase1) -> None:
    """How many layers settle, and in which order those of one network do."""
    settled, orders = result.layers.kind.eq("converged"), result.convergence.order
    title = "Layers that settle and stay in their band"
    run.claim_share("layers_converged", int(settled.sum()), len(settled), title=title)
    for name in ("bottom-up", "top-down", "simultaneous"):
        tested = {"null": 0.025, "null_is": "the level of the permutation test"}
        beside = tested if name != "simultaneous" else {}
        title = f"Networks whose layers settle {name}"
        run.claim_share(f"runs/{name}", int((orders == name).sum()), len(orders), title=title, **beside)


def claim_prediction(run: Run, runs: list[TrackedRun], result: Phase1) -> None:
    """The original's last step: whether depth, width, family and data tell how often a network jumps."""
    cells = prediction.describe_cells(runs, result)
    predicted = prediction.predict_jumps(cells, run.rng("prediction"))
    if predicted is None:
        run.say(
            f"{len(cells)} cells are too few, or too alike, to ask whether hyper-parameters predict jumps."
        )
        return
    run.table("jump_prediction", predicted.cells)
    run.claim(
        "hyperparameters/r2",
        predicted.r2,
        low=predicted.low,
        high=predicted.high,
        n=len(cells),
        null=predicted.null,
        p=predicted.p,
        kind="correlation",
        better="higher",
        null_is="the same with the cells' jumps exchanged",
        title="Jumps per layer explained by depth, width, family and data, in cells left out",
    )
    points = {family: (own.predicted, own.jumps) for family, own in predicted.cells.groupby("family")}
    run.figure(
        "jump_prediction",
        figures.predicted_figure(points),
        predicted.cells,
        caption="Jumps per layer of each cell, as predicted from the other cells' settings; on the line is right.",
    )


PARTS_OF_TRAINING = {"early": "first tenth", "mid": "middle, from a tenth to a half", "late": "second half"}


def grid_verdict(runs: list[TrackedRun], result: Phase1) -> str:
    """When jumps come, and whether they are of kinds."""
    kinds = "fall into no clusters" if result.kinds.k == 1 else f"fall into {cite('jump_clusters')} clusters"
    late = (
        f"{cite('share_of_jumps/late', style='.0%')} of the calibrated jumps lie in the second half of training, and they {kinds}."
        if len(result.jumps)
        else "No jump is left."
    )
    return (
        f"In {cite('networks')} networks the calibrated test finds {cite('jumps_per_layer/edge', style='.2f')} jumps per layer "
        f"where smooth courses with the rest as new noise give {cite('jumps_per_layer/edge', 'null', '.2f')}; the original rule finds "
        f"{cite('jumps_per_layer/zscore', style='.1f')} against {cite('jumps_per_layer/zscore', 'null', '.1f')}. {late}"
    )


def _write_grid_tables(config: GridConfig, run: Run, runs: list[TrackedRun], result: Phase1) -> None:
    """The original's file names."""
    run.table("all_jumps_detailed", result.jumps)
    run.table("critical_periods_detailed", result.critical)
    run.table("convergence", result.convergence)
    run.table("layer_settling", result.layers)
    run.table("detectors", result.detectors)
    run.table("jumps_by_measure", _by_measure(config, runs))
    run.table(
        "runs",
        pd.DataFrame(
            [{**phases.run_labels(r), "accuracy": r.accuracy, "layers": len(r.layers)} for r in runs]
        ),
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
        by_series = jumps_of_all(series)
        constant = sum(s.constant for s in series)
        counts = [len(jumps) for _, jumps in by_series]
        rows.append(
            {
                "measure": measure,
                "series": len(series),
                "constant": constant,
                "jumps_per_series": float(np.mean(counts)) if counts else None,
            }
        )
    return pd.DataFrame(rows)


def _draw_heatmaps(run: Run, shown: list[TrackedRun], name: str, result: Phase1) -> None:
    """One picture a run."""
    for entry in shown:
        picture = figures.layer_heatmap(entry, name, [j for j in result.found if j[0].run == entry.name])
        caption = f"{name} of each layer against its own range; ticks are jumps."
        run.figure(f"heatmaps/{entry.name}", picture, caption=caption)


def _draw_grid(config: GridConfig, run: Run, runs: list[TrackedRun], result: Phase1) -> None:
    """Where in training the jumps lie."""
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
        dashboard.rates_figure(rates, "arch_name", edge),
        rates,
        caption="Calibrated jumps per layer with intervals over runs; the gray line is the null.",
    )
    run.figure(
        "executive_dashboard", dashboard.dashboard_figure(runs, result), caption="Ten panels on one page."
    )
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
        _draw_heatmaps(run, [r for r in runs if r.seed == runs[0].seed], name, result)
    steps = {str(key): list(group["step"]) for key, group in result.jumps.groupby("experiment")}
    show_courses(run, runs, name, steps)
    show_spectra(run, runs)
    run.view("jumps", "table", "tables/all_jumps_detailed.csv")
