"""Study: faults planted into twenty clean series of checkpoints; are they named, and is a clean series called clean?"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import beta

from digsite.figures import heatmap
from digsite.track.config import AuditConfig
from digsite.track.judge.planted_faults import PLANTS, score_plants
from digsite.track.judge.series_audit import audit_series
from digsite.track.subjects.checkpoint_prints import CheckpointPrint, read_prints
from digsite.track.subjects.series_recipes import GROUNDS, CleanSeries, train_series
from digsite.weights import write_weights
from digsite.worker.run import Run

ORDER = ("neighbors exchanged", "distant exchanged")  # faults of order, beside those of content


def audit(config: AuditConfig, run: Run) -> None:
    """Trains, writes checkpoints, reads their prints as the verb does, plants, and counts."""
    names = config.grounds or list(GROUNDS)
    run.stage("planting", 2 * len(names))
    stored = run.once("scores", lambda: _scores(config, run, names))
    scores = pd.DataFrame(stored["scores"])
    clean = pd.DataFrame(stored["clean"])
    run.table("planted", scores)
    run.table("clean", clean)
    _claim(run, scores, clean)
    rates = scores.assign(rate=scores.found / scores.planted, number=scores.groupby("kind").cumcount())
    rates = rates.pivot(index="number", columns="kind", values="rate")[list(PLANTS)].set_axis(clean.series)
    run.figure(
        "found",
        heatmap(
            rates.to_numpy(),
            x="planted fault",
            y="series",
            unit="share found",
            ticks_x=list(rates.columns),
            ticks_y=list(rates.index),
        ),
        data=rates.reset_index(),
        caption="Share of planted faults whose every step is named, by series and kind of fault.",
    )
    run.view("planted", "table", "tables/planted.csv")


def _scores(config: AuditConfig, run: Run, names: list[str]) -> dict[str, Any]:
    scores, clean = [], []
    for k, (own, stranger) in enumerate(train_series(names, config.seed, config.steps, config.checkpoints)):
        prints, strange = _as_read(own), _as_read(stranger)
        found = audit_series(prints)
        clean.append(
            {
                "series": own.name,
                "checkpoints": len(prints),
                "left_out": len(found.left_out),
                "findings": len(found.findings),
                "sampled": found.sampled,
            }
        )
        for kind in PLANTS:
            one = score_plants(prints, strange, kind, config.draws, run.rng(f"plants/{kind}", k))
            scores.append({"series": own.name, **vars(one)})
        run.breathe(k + 1)
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


def _claim(run: Run, scores: pd.DataFrame, clean: pd.DataFrame) -> None:
    alarms = int((clean.left_out > 0).sum())
    high = 1 - 0.05 ** (1 / len(clean)) if alarms == 0 else _interval(alarms, len(clean))[1]
    run.claim(
        "clean_series_accused", alarms, low=0, high=high * len(clean), n=len(clean), null=0, unit="series"
    )
    for kind in PLANTS:
        part = scores[scores.kind == kind]
        _rate(run, f"found/{kind.replace(' ', '_')}", part)  # pyright: ignore[reportArgumentType]
    whole = _rate(run, "found/all", scores)
    _rate(run, "found/content", scores[~scores.kind.isin(ORDER)])  # pyright: ignore[reportArgumentType]
    others = float(scores.others.sum() / scores.planted.sum())
    run.claim("others_named_per_planting", others, n=int(scores.planted.sum()), null=0, unit="steps")
    run.verdict(
        f"{whole:.1%} of {int(scores.planted.sum())} planted faults are found with every step named; {alarms} of "
        f"{len(clean)} clean series are accused.",
        on=["found/all", "clean_series_accused"],
    )


def _rate(run: Run, name: str, part: pd.DataFrame) -> float:
    """A share with its exact interval; the null is what the import did before: nothing found."""
    found, planted = int(part.found.sum()), int(part.planted.sum())
    low, high = _interval(found, planted)
    run.claim(
        name,
        found / planted,
        low=low,
        high=high,
        n=planted,
        null=0.0,
        note="null: the import before the audit",
    )
    return found / planted


def _interval(found: int, n: int) -> tuple[float, float]:
    """Clopper-Pearson, 95 %."""
    low = float(beta.ppf(0.025, found, n - found + 1)) if found else 0.0
    high = float(beta.ppf(0.975, found + 1, n - found)) if found < n else 1.0
    return low, high
