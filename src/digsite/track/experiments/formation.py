"""Study: when did each representation form, in curves by others, and which cheap measure leads, lags or misses it?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from digsite.base import settings
from digsite.base.errors import UsageError
from digsite.base.intervals import share_of_repeats
from digsite.figures import canvas, styled
from digsite.figures.style import NULL_COLOR, PALETTE
from digsite.record.verdict import cite
from digsite.track.config import FormationConfig
from digsite.track.core.formation import date_formation, window_share
from digsite.track.subjects.grokking_grid import (
    PART_CURVES,
    TRUTH,
    WHOLE_CURVES,
    GridShape,
    GrokkingCurve,
    as_published_runs,
    read_published_runs,
    train_grid,
)
from digsite.worker.run import Run


def study_formation(config: FormationConfig, run: Run) -> None:
    """Dates every learned representation by every measure, and compares with the window of its trace similarity."""
    kinds = {}
    if "published" in config.sources:
        kinds["published"] = _published_runs()
    if "trained" in config.sources:
        run.stage("training")
        kinds["trained"] = as_published_runs(run.once("grid", lambda: _train_own(config)), config.every)
    tables = [
        pd.DataFrame([row for tracked in runs for row in date_parts(tracked)]).assign(source=kind)
        for kind, runs in kinds.items()
    ]
    dated = pd.concat(tables)
    run.table("dated", dated)
    if dated.empty:
        return run.verdict("No representation formed: there is nothing to date.")
    summary = _summarize_dates(dated)
    run.table("measures", summary)
    _claim_dates(run, summary)
    run.headline(
        [f"{next(iter(kinds))}/embedding_share", f"{next(iter(kinds))}/test_accuracy"],
        hero=f"dates_{next(iter(kinds))}",
    )
    run.verdict(
        " ".join(_formation_verdict(source, summary[summary.source == source]) for source in kinds),  # pyright: ignore[reportArgumentType]
        on=["*/embedding_share", "*/test_accuracy"],
    )
    for source in kinds:
        own = dated[dated.source == source]
        run.figure(
            f"dates_{source}",
            draw_dates(own),
            data=own,
            caption="Windows in which each representation forms (gray), and when measures of it and of the whole network date it.",
        )
    run.view("dated", "table", "tables/dated.csv")


def _summarize_dates(dated: pd.DataFrame) -> pd.DataFrame:
    """One row per source and measure: how the parts dated by it fall before, into and after their windows."""
    rows = []
    for (source, name), part in dated.groupby(["source", "measure"], sort=False):  # pyright: ignore[reportGeneralTypeIssues]
        rows.append({"source": source, **_summarize_measure(name, part)})
    return pd.DataFrame(rows)


def _claim_dates(run: Run, summary: pd.DataFrame) -> None:
    """A share of parts per source and measure, each beside the dates that other parts or random samples would give."""
    for row in summary.itertuples():
        run.claim(
            _claim_name(row.source, row.measure),
            row.in_window,
            low=row.low,
            high=row.high,
            n=row.parts,
            null=row.chance,
            kind="share",
            better="higher",
            title=f"Parts that '{row.measure}' dates within their window ({row.source})",
            note=f"{row.leads:.0%} lead, {row.lags:.0%} lag",
            null_is="dates of other parts, or random samples",
        )


def _published_runs() -> list[GrokkingCurve]:
    """Curves that others have published."""
    folder = settings.data_dir()
    if folder is None:
        hint = "Set DIGSITE_DATA to a folder that holds grokking_curves, or use own networks: 'sources=[trained]'."
        raise UsageError("The published curves are not here.", hint=hint)
    return read_published_runs(Path(folder) / "grokking_curves")


def _train_own(config: FormationConfig) -> dict[str, Any]:
    """A grid of our own, where those are not here."""
    shape = GridShape(config.modulus, config.width, config.steps, config.every, 0.01)
    return train_grid(shape, config.decays, [0.7], config.seeds, config.seed)


def _formation_verdict(source: str, summary: pd.DataFrame) -> str:
    """Best measure of parts and best measure of the whole network, each beside chance."""
    parts, whole = (summary[summary.measure.isin(list(c))] for c in (PART_CURVES, WHOLE_CURVES))
    best, cheap = parts.loc[parts.in_window.idxmax()], whole.loc[whole.in_window.idxmax()]
    first, second = _claim_name(source, best.measure), _claim_name(source, cheap.measure)
    return (
        f"In {source} runs the {best.measure} dates {cite(first, style='.0%')} of {cite(first, 'n')} representations within the "
        f"window in which they form (by chance {cite(first, 'null', '.0%')}); of the measures of the whole network the "
        f"{cheap.measure} does best with {cite(second, style='.0%')} (by chance {cite(second, 'null', '.0%')})."
    )


def _claim_name(source: str, measure: str) -> str:
    """Without spaces."""
    return f"{source}/{measure.replace(' ', '_')}"


def date_parts(run: GrokkingCurve) -> list[dict[str, Any]]:
    """One row per learned representation and measure: the window, the date, and whether chance would do as well.

    run: a published run. `chance` is the share of other learned representations of the run whose date by the same measure
    lies in this one's window; `random` is the window's share of the samples. For a run with one representation chance is
    the latter.
    """
    windows = {part: date_formation(run.epochs, run.columns[TRUTH.format(part)]) for part in run.learned}
    rows = []
    for measure, (column, falls, log) in (PART_CURVES | WHOLE_CURVES).items():
        dates = {}
        for part in run.learned:
            values = run.columns.get(column.format(part))
            formed = (
                None if values is None else date_formation(run.epochs, values, falls=falls, logarithmic=log)
            )
            if formed is not None:
                dates[part] = formed.middle
        for part, date in dates.items():
            window = windows[part]
            if window is None:
                continue
            random = window_share(window, run.epochs)
            others = (
                [window.holds(d) for p, d in dates.items() if p != part] if measure in PART_CURVES else []
            )
            rows.append(
                {
                    "run": run.name,
                    "part": part,
                    "measure": measure,
                    "onset": window.onset,
                    "middle": window.middle,
                    "end": window.end,
                    "date": date,
                    "inside": window.holds(date),
                    "leads": date < window.onset,
                    "lags": date > window.end,
                    "chance": float(np.mean(others)) if others else random,
                    "random": random,
                }
            )
    return rows


def _summarize_measure(measure: Any, part: pd.DataFrame) -> dict[str, Any]:
    """Shares over representations with an interval over runs, which are the independent units."""
    by_run = part.groupby("run").inside.mean().tolist()
    spread = share_of_repeats(by_run, 0.0, 1.0)
    return {
        "measure": measure,
        "in_window": part.inside.mean(),
        "low": spread.low,
        "high": spread.high,
        "parts": len(part),
        "runs": len(by_run),
        "leads": part.leads.mean(),
        "lags": part.lags.mean(),
        "chance": part.chance.mean(),
    }


@styled
def draw_dates(dated: pd.DataFrame) -> Any:
    """One line per representation: its window, and the dates of each measure. dated: rows of `date_parts`."""
    keys = list(dict.fromkeys(zip(dated.run, dated.part)))
    figure, ax = canvas(width=7.0, height=1.2 + 0.19 * len(keys))
    for i, (run, part) in enumerate(keys):
        own = dated[(dated.run == run) & (dated.part == part)].iloc[0]
        name = "it forms, 10 to 90 %" if i == 0 else None
        look = {"color": NULL_COLOR, "linewidth": 6, "alpha": 0.5, "solid_capstyle": "butt"}
        ax.plot([own.onset, own.end], [i, i], label=name, **look)
    shown = ["embedding share", "restricted loss", "test accuracy", "weight norm"]
    shown = [m for m in shown if (dated.measure == m).any()]
    for color, marker, measure in zip(PALETTE, "os^x", shown):
        rows = dated[dated.measure == measure]
        at = [keys.index(key) for key in zip(rows.run, rows.part)]
        ax.plot(rows.date, at, marker, color=color, markersize=4, linestyle="none", label=measure)
    ax.set_yticks(range(len(keys)), [f"{run}  {part}" for run, part in keys], fontsize=6)
    ax.set(xlabel="training step", xscale="log", ylim=(len(keys) - 0.5, -0.5))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=5)
    return figure
