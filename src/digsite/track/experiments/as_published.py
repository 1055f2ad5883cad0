"""Study: the published 55 runs, reproduced, repaired and judged, claim by claim."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

import numpy as np
import pandas as pd

from digsite.base import settings
from digsite.base.errors import NotFound
from digsite.track.config import AsPublishedConfig
from digsite.track.core.detect import jumps_of_all
from digsite.track.core.jumps import Jump
from digsite.track.core.series import Series
from digsite.track.figures import courses as figures
from digsite.track.judge import comparison
from digsite.track.subjects import published, retrained
from digsite.track.subjects.published import COUNT_KEYS, RECORDED, PublishedRun
from digsite.track.subjects.table_checks import check_table
from digsite.worker.run import Run


def as_published(config: AsPublishedConfig, run: Run) -> None:
    runs = _runs(config, run)
    families = {r.name: r.family for r in runs}
    recorded, repaired = published.jump_table(runs, RECORDED), published.jump_table(runs, "stable_rank")
    run.say(f"{len(runs)} runs, {len(recorded)} jumps by the published rule on the recorded column")
    found = jumps_of_all(s for r in runs for s in r.series("stable_rank"))
    calibrated = pd.DataFrame([_row(families, s, j) for s, jumps in found for j in jumps])
    whole = config.source == "published" and config.limit is None
    rows = comparison.comparison(runs, found, run.rng("shifts"), comparison.STATED if whole else {})
    _claims(run, recorded, repaired, calibrated, rows, len(found))
    _tables(run, runs, recorded, repaired, calibrated, rows)
    _figures(run, runs, recorded, repaired, calibrated, rows)
    noise = next(row.null for row in rows if row.claim == "jumps")
    run.verdict(
        f"The recorded stable rank is constant to rounding, and the published rule marks {len(recorded)} places in it; "
        f"on the repaired series the same rule marks {len(repaired)}, where noise alone gives {noise:.0f}. "
        f"A test with a family-wise error of 5 % keeps {len(calibrated)} level changes, "
        f"{_share(calibrated, 0.5, 1.01):.0%} of them in the second half of training."
    )


def _runs(config: AsPublishedConfig, run: Run) -> list[PublishedRun]:
    if config.source == "retrained":
        run.stage("training a run the original way")
        return retrained.runs(run.derive("training"), config.steps, config.every)
    root = settings.data_dir()
    if root is None:
        raise NotFound(
            "The published series are not on this machine.",
            hint="Set DIGSITE_DATA to a folder that holds ndt_runs, or run with source=retrained.",
        )
    runs = published.load_runs(root / "ndt_runs")
    kept: Counter[str] = Counter()
    chosen = []
    for one in runs:
        kept[one.family] += 1
        if config.limit is None or kept[one.family] <= config.limit:
            chosen.append(one)
    return chosen


def _row(families: dict[str, str], series: Series, jump: Jump) -> dict[str, object]:
    return {
        "experiment": series.run,
        "family": families[series.run],
        "layer": series.layer,
        "depth": series.depth,
        **asdict(jump),
        "direction": jump.direction,
    }


def _claims(
    run: Run,
    recorded: pd.DataFrame,
    repaired: pd.DataFrame,
    calibrated: pd.DataFrame,
    rows: list[comparison.Row],
    n_series: int,
) -> None:
    noise = next(row.null for row in rows if row.claim == "jumps")
    run.claim(
        "published_jumps", len(recorded), null=noise, unit="jumps", note="published rule, recorded column"
    )
    for family in COUNT_KEYS:
        if (count := int((recorded.family == family).sum())) or family in set(recorded.family):
            null = next(row.null for row in rows if row.claim == f"jumps/{family}")
            run.claim(f"published_jumps/{family}", count, null=null, unit="jumps")
    run.claim(
        "repaired_jumps/zscore",
        len(repaired),
        null=noise,
        unit="jumps",
        note="same rule, repaired stable rank",
    )
    run.claim(
        "repaired_jumps/edge",
        len(calibrated),
        null=0.05 * n_series,
        unit="jumps",
        note="null: series with a false alarm expected at a family-wise error of 5 % each",
    )
    run.claim(
        "early_share/published_time",
        _early(recorded.published_phase),
        null=0.1,
        note="sample index over steps",
    )
    run.claim(
        "early_share/true_time", _early(recorded.phase), null=0.1, note="first tenth of training, true steps"
    )
    run.claim("late_share/edge", _share(calibrated, 0.5, 1.01), null=0.5, note="second half of training")


def _early(phases: pd.Series) -> float:
    return float((phases < 0.1).mean()) if len(phases) else 0.0


def _share(jumps: pd.DataFrame, low: float, high: float) -> float:
    return float(((jumps.phase >= low) & (jumps.phase < high)).mean()) if len(jumps) else 0.0


def _tables(
    run: Run,
    runs: list[PublishedRun],
    recorded: pd.DataFrame,
    repaired: pd.DataFrame,
    calibrated: pd.DataFrame,
    rows: list[comparison.Row],
) -> None:
    run.table("published_against_repaired", pd.DataFrame([asdict(row) for row in rows]))
    run.table("jumps_recorded", recorded)
    run.table("jumps_repaired_zscore", repaired)
    run.table("jumps_repaired_edge", calibrated)
    findings = [
        f.row() for r in runs for f in check_table(r.frame.assign(experiment=r.name), f"{r.name}.csv")
    ]
    run.table("import_findings", pd.DataFrame(findings))


def _figures(
    run: Run,
    runs: list[PublishedRun],
    recorded: pd.DataFrame,
    repaired: pd.DataFrame,
    calibrated: pd.DataFrame,
    rows: list[comparison.Row],
) -> None:
    layer, part = next(iter(runs[0].layers.items()))
    columns = [published.column(part, measure) for measure in (RECORDED, "stable_rank")]
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
    mine = [row for row in rows if row.claim.startswith("jumps/") and row.null]
    run.figure(
        "jump_counts",
        figures.counts_and_null(
            [row.claim.partition("/")[2] for row in mine],
            {
                "published rule, recorded": [row.recorded or 0 for row in mine],
                "published rule, repaired": [row.repaired or 0 for row in mine],
                "calibrated, repaired": [row.calibrated or 0 for row in mine],
            },
            [row.null or 0 for row in mine],
            "jumps",
        ),
        caption="On repaired data the published rule marks about as many places as it marks in noise.",
    )
    run.view("published against repaired", "table", "tables/published_against_repaired.csv")
