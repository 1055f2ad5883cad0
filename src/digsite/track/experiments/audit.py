"""Study: faults planted into twenty clean series of checkpoints; are they named, and is a clean series called clean?"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from digsite.figures import heatmap
from digsite.record.verdict import cite
from digsite.track.config import AuditConfig
from digsite.track.judge.planted_faults import PLANTS, score_plants
from digsite.track.judge.series_audit import audit_series
from digsite.track.subjects.checkpoint_prints import CheckpointPrint, read_prints
from digsite.track.subjects.series_recipes import GROUNDS, CleanSeries, train_series
from digsite.weights import write_weights
from digsite.worker.run import Run

ORDER = ("neighbors exchanged", "distant exchanged")  # faults of order, beside those of content


def study_audit(config: AuditConfig, run: Run) -> None:
    """Trains, writes checkpoints, reads their prints as the verb does, plants, and counts."""
    names = config.grounds or list(GROUNDS)
    run.stage("planting", 2 * len(names))
    stored = run.once("scores", lambda: _score_faults(config, run, names))
    scores = pd.DataFrame(stored["scores"])
    clean = pd.DataFrame(stored["clean"])
    run.table("planted", scores)
    run.table("clean", clean)
    _claim_audit(run, scores, clean)
    rates = scores.assign(rate=scores.found / scores.planted, number=scores.groupby("kind").cumcount())
    rates = rates.pivot(index="number", columns="kind", values="rate")[list(PLANTS)].set_axis(clean.series)
    run.figure(
        "found",
        heatmap(
            rates.to_numpy(),
            x="planted fault",
            y="series",
            unit="share found",
            limits=(0.0, 1.0),
            ticks_x=list(rates.columns),
            ticks_y=list(rates.index),
        ),
        data=rates.reset_index(),
        caption="Share of planted faults whose every step is named, by series and kind of fault.",
    )
    run.view("planted", "table", "tables/planted.csv")


def _score_faults(config: AuditConfig, run: Run, names: list[str]) -> dict[str, Any]:
    """Every kind of fault in one series."""
    scores, clean = [], []
    for k, (own, stranger) in enumerate(train_series(names, config.seed, config.steps, config.checkpoints)):
        prints, strange = _as_read(own), _as_read(stranger)
        audited = audit_series(prints)
        clean.append(
            {
                "series": own.name,
                "checkpoints": len(prints),
                "left_out": len(audited.left_out),
                "findings": len(audited.findings),
                "sampled": audited.sampled,
            }
        )
        for kind in PLANTS:
            score = score_plants(prints, strange, kind, config.draws, run.rng(f"plants/{kind}", k))
            scores.append({"series": own.name, **vars(score)})
        run.let_signals_in(k + 1)
    return {"scores": scores, "clean": clean}


def _as_read(series: CleanSeries) -> list[CheckpointPrint]:
    """Through files, as the verb reads them."""
    with tempfile.TemporaryDirectory() as folder:
        stored = []
        for step, state in zip(series.steps, series.states, strict=True):
            path = Path(folder) / f"step_{step}.safetensors"
            write_weights(path, state)
            stored.append((step, path))
        return list(read_prints(stored))


def _claim_audit(run: Run, scores: pd.DataFrame, clean: pd.DataFrame) -> None:
    """Faults named, and clean series that were accused."""
    alarms = int((clean.left_out > 0).sum())
    run.claim_share(
        "clean_series_accused",
        alarms,
        len(clean),
        null=0.0,
        null_is="no fault is planted",
        better="lower",
        title="Clean series that are accused of a fault",
    )
    for kind in PLANTS:
        _claim_rate(run, f"found/{kind.replace(' ', '_')}", scores[scores.kind.eq(kind)])  # pyright: ignore[reportArgumentType]
    _claim_rate(run, "found/all", scores)
    _claim_rate(run, "found/content", scores[~scores.kind.isin(ORDER)])  # pyright: ignore[reportArgumentType]
    run.claim("others_named_per_planting", float(scores.others.sum() / scores.planted.sum()), unit="steps")
    run.headline(["found/all", "clean_series_accused"], hero="found")
    run.verdict(
        f"Of {cite('found/all', 'n')} planted faults {cite('found/all', style='.1%')} are found with every step named; "
        f"{cite('clean_series_accused', 'hits')} of {cite('clean_series_accused', 'n')} clean series are accused.",
        on=["found/all", "clean_series_accused"],
    )


def _claim_rate(run: Run, name: str, part: pd.DataFrame) -> None:
    """A share with its exact interval; the null is what the import did before: nothing found."""
    run.claim_share(
        name,
        int(part.found.sum()),
        int(part.planted.sum()),
        null=0.0,
        null_is="the import before the audit",
        better="higher",
        title=f"Planted faults that are found with every step named ({name.removeprefix('found/').replace('_', ' ')})",
    )
