"""Study: the published 55 runs, reproduced, repaired and judged, claim by claim."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from digsite.base import settings
from digsite.base.errors import NotFound
from digsite.record.verdict import cite
from digsite.track.config import AsPublishedConfig
from digsite.track.core.detect import jumps_of_all
from digsite.track.core.jumps import Jump
from digsite.track.core.series import Series
from digsite.track.figures import courses as figures
from digsite.track.judge import comparison
from digsite.track.subjects import published
from digsite.track.subjects.published import COUNT_KEYS, RECORDED, PublishedRun
from digsite.track.subjects.table_checks import check_table
from digsite.worker.run import Run


def study_as_published(config: AsPublishedConfig, run: Run) -> None:
    """Every published sentence beside the same rule on repaired data and beside a calibrated answer."""
    runs = _read_runs(config, run)
    families = {r.name: r.family for r in runs}
    recorded, repaired = published.jump_table(runs, RECORDED), published.jump_table(runs, "stable_rank")
    run.say(f"{len(runs)} runs, {len(recorded)} jumps by the published rule on the recorded column")
    by_series = jumps_of_all(s for r in runs for s in r.series("stable_rank"))
    calibrated = pd.DataFrame([_jump_row(families, s, j) for s, jumps in by_series for j in jumps])
    whole = config.source == "published" and config.limit is None
    rows = comparison.compare_claims(runs, by_series, run.rng("shifts"), comparison.STATED if whole else {})
    _claim_published(run, recorded, repaired, calibrated, rows, len(by_series))
    _write_published_tables(run, runs, recorded, repaired, calibrated, rows)
    _draw_published(run, runs, recorded, repaired, calibrated, rows)
    if config.heatmaps:
        _draw_heatmaps(run, runs, by_series)
    run.headline(["late_share/edge", "early_share/true_time", "false_alarms/edge"])
    late = (
        f", {cite('late_share/edge', style='.0%')} of them in the second half of training"
        if len(calibrated)
        else ""
    )
    run.verdict(
        f"The recorded stable rank is constant to rounding, and the published rule marks {cite('published_jumps')} places in "
        f"it; on the repaired series the same rule marks {cite('repaired_jumps/zscore')}, where noise alone gives "
        f"{cite('published_jumps', 'null', '.0f')}. A test with a family-wise error of {cite('false_alarms/edge', 'null', '.0%')} "
        f"keeps {cite('repaired_jumps/edge')} level changes{late}."
    )


def _read_runs(config: AsPublishedConfig, run: Run) -> list[PublishedRun]:
    """The published files, or small runs trained the original way."""
    if config.source == "retrained":
        run.stage("training a run the original way")
        return published.train_small_runs(run.derive("training"), config.steps, config.every)
    root = settings.data_dir()
    if root is None:
        raise NotFound(
            "The published series are not on this machine.",
            hint="Set DIGSITE_DATA to a folder that holds ndt_runs, or run with source=published.",
        )
    runs = published.load_runs(root / "ndt_runs")
    kept: Counter[str] = Counter()
    chosen = []
    for tracked in runs:
        kept[tracked.family] += 1
        if config.limit is None or kept[tracked.family] <= config.limit:
            chosen.append(tracked)
    return chosen


def _jump_row(families: dict[str, str], series: Series, jump: Jump) -> dict[str, object]:
    """One jump of one series."""
    return {
        "experiment": series.run,
        "family": families[series.run],
        "layer": series.layer,
        "depth": series.depth,
        **asdict(jump),
        "direction": jump.direction,
    }


def _claim_published(
    run: Run,
    recorded: pd.DataFrame,
    repaired: pd.DataFrame,
    calibrated: pd.DataFrame,
    rows: list[comparison.ComparedClaim],
    n_series: int,
) -> None:
    """Counts by both rules, then the sentences."""
    noise = next(row.null for row in rows if row.claim == "jumps")
    marked = {"null": noise, "null_is": "what the rule marks on white noise", "kind": "count"}
    run.claim(
        "published_jumps", len(recorded), **marked, title="Jumps by the published rule in the recorded column"
    )
    for family in COUNT_KEYS:
        if (count := int((recorded.family == family).sum())) or family in set(recorded.family):
            null = next(row.null for row in rows if row.claim == f"jumps/{family}")
            run.claim(
                f"published_jumps/{family}",
                count,
                null=null,
                null_is="white noise",
                kind="count",
                title=f"Of these in {family} networks",
            )
    run.claim(
        "repaired_jumps/zscore",
        len(repaired),
        **marked,
        title="Jumps by the published rule in the repaired stable rank",
    )
    run.claim(
        "repaired_jumps/edge",
        len(calibrated),
        null=0.05 * n_series,
        null_is="one false alarm in twenty series",
        kind="count",
        title="Level changes that a calibrated test keeps",
    )
    _claim_shares(run, recorded, calibrated, n_series)


def _claim_shares(run: Run, recorded: pd.DataFrame, calibrated: pd.DataFrame, n_series: int) -> None:
    """Where in training jumps lie, and in how many series there is one: counted, with exact intervals."""
    evenly: dict[str, Any] = {"null_is": "spread evenly over training"}
    n_layers = calibrated.groupby(["experiment", "layer"]).ngroups if len(calibrated) else 0
    title, null_is = (
        "Series in which the calibrated test keeps a level change",
        "the stated rate of false alarms",
    )
    run.claim_share("false_alarms/edge", n_layers, n_series, null=0.05, null_is=null_is, title=title)
    title = "Published jumps in the first tenth, by sample index over steps"
    early = int((recorded.published_phase < 0.1).sum())
    run.claim_share("early_share/published_time", early, len(recorded), null=0.1, title=title, **evenly)
    title = "Published jumps in the first tenth of training, by true steps"
    early = int((recorded.phase < 0.1).sum())
    run.claim_share("early_share/true_time", early, len(recorded), null=0.1, title=title, **evenly)
    late = int((calibrated.phase >= 0.5).sum()) if len(calibrated) else 0
    title = "Calibrated level changes in the second half"
    run.claim_share("late_share/edge", late, len(calibrated), null=0.5, title=title, **evenly)


def _early_share(phases: pd.Series) -> float:
    """In the first tenth of training."""
    return float((phases < 0.1).mean()) if len(phases) else 0.0


def _phase_share(jumps: pd.DataFrame, low: float, high: float) -> float:
    """Between two shares of training."""
    return float(((jumps.phase >= low) & (jumps.phase < high)).mean()) if len(jumps) else 0.0


def _write_published_tables(
    run: Run,
    runs: list[PublishedRun],
    recorded: pd.DataFrame,
    repaired: pd.DataFrame,
    calibrated: pd.DataFrame,
    rows: list[comparison.ComparedClaim],
) -> None:
    """Everything behind the claims."""
    run.table("published_against_repaired", pd.DataFrame([asdict(row) for row in rows]))
    run.table("jumps_recorded", recorded)
    run.table("jumps_repaired_zscore", repaired)
    run.table("jumps_repaired_edge", calibrated)
    findings = [
        f.row() for r in runs for f in check_table(r.frame.assign(experiment=r.name), f"{r.name}.csv")
    ]
    run.table("import_findings", pd.DataFrame(findings))


def _draw_heatmaps(run: Run, runs: list[PublishedRun], by_series: comparison.Found) -> None:
    """The original drew one map per run, of a column that is constant; here of the repaired one."""
    run.stage("heat maps", len(runs))
    for done, tracked in enumerate(runs):
        picture = figures.layer_heatmap(
            published.as_tracked(tracked, "stable_rank"),
            "stable_rank",
            [(series, jumps) for series, jumps in by_series if series.run == tracked.name],
        )
        caption = "Repaired stable rank of each layer against its own range; ticks are calibrated jumps."
        run.figure(f"heatmaps/{tracked.name}", picture, caption=caption)
        run.let_signals_in(done + 1)


def _draw_published(
    run: Run,
    runs: list[PublishedRun],
    recorded: pd.DataFrame,
    repaired: pd.DataFrame,
    calibrated: pd.DataFrame,
    rows: list[comparison.ComparedClaim],
) -> None:
    """Jump times by both rules."""
    layer, part = next(iter(runs[0].layers.items()))
    columns = [published.recorded_column(part, measure) for measure in (RECORDED, "stable_rank")]
    run.figure(
        "recorded_and_repaired",
        figures.recorded_and_repaired(part["step"].to_numpy(), *columns, layer=f"{runs[0].name}, {layer}"),
        {"step": part["step"], "recorded": columns[0], "repaired": columns[1]},
        caption="What was recorded as the stable rank is one up to rounding; the layer itself moves.",
    )
    phases = {
        "published: recorded column, sample index over steps": recorded.published_phase.to_numpy(float),
        "recorded column, true time": recorded.phase.to_numpy(float),
        "same rule, repaired stable rank": repaired.phase.to_numpy(float),
        "calibrated test, repaired stable rank": calibrated.phase.to_numpy(float)
        if len(calibrated)
        else np.zeros(0),
    }
    run.figure(
        "jump_times", figures.phase_histograms(phases), caption="The early crowd is a wrong time axis."
    )
    jump_rows = [row for row in rows if row.claim.startswith("jumps/") and row.null]
    run.figure(
        "jump_counts",
        figures.counts_and_null(
            [row.claim.partition("/")[2] for row in jump_rows],
            {
                "published rule, recorded": [row.recorded or 0 for row in jump_rows],
                "published rule, repaired": [row.repaired or 0 for row in jump_rows],
                "calibrated, repaired": [row.calibrated or 0 for row in jump_rows],
            },
            [row.null or 0 for row in jump_rows],
            "jumps",
        ),
        caption="On repaired data the published rule marks about as many places as it marks in noise.",
    )
    run.view("published against repaired", "table", "tables/published_against_repaired.csv")
