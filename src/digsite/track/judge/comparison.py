"""What was published about the 55 runs, against the same rule on repaired data and against calibrated answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from digsite.track.core.detect import jumps_of_all
from digsite.track.core.jumps import Jump
from digsite.track.core.series import Series
from digsite.track.judge import critical
from digsite.track.subjects.published import (
    COUNT_KEYS,
    RECORDED,
    PublishedRun,
    jump_table,
    original_stabilization,
)

GAUSSIAN_TAIL = 0.0455  # P(|z| > 2): what the original rule marks on noise
# Stated in the report of the 55 runs and its tables.
STATED = {
    "jumps": 2991,
    "jumps/transformer": 1598,
    "jumps/cnn": 297,
    "jumps/mlp": 1096,
    "share early": 0.833,
    "share mid": 0.167,
    "share late": 0.0,
    "CNN over MLP, jumps": 2.5,
    "share of transformer jumps in linear2": 1.0,
    "share of layers stable at step 0": 1.0,
    "runs with simultaneous layers": 55,
    "runs with coordination of half of the layers": 49,
    "share of fast samples at which the loss fell": 0.568,
}


@dataclass(frozen=True)
class ComparedClaim:
    """One claim: as computed on the recorded column, by the same rule on repaired data, and by a rule with a null."""

    claim: str
    recorded: float | None
    repaired: float | None
    calibrated: float | None
    null: float | None
    note: str = ""
    stated: float | None = None


Found = list[tuple[Series, list[Jump]]]


def calibrated_jumps(runs: list[PublishedRun], measure: str) -> Found:
    """Of all runs, by the calibrated detector."""
    return jumps_of_all((series for run in runs for series in run.series(measure)), "edge")


def jump_rows(
    recorded: pd.DataFrame, repaired: pd.DataFrame, finds: Found, families: dict[str, str]
) -> list[ComparedClaim]:
    """Counts by family, and where in training they lie."""
    differences = sum(len(series.values) - 1 for series, _ in finds)
    calibrated = [(series, jump) for series, jumps in finds for jump in jumps]
    rows = [
        ComparedClaim(
            "jumps",
            len(recorded),
            len(repaired),
            len(calibrated),
            GAUSSIAN_TAIL * differences,
            "null: what the published rule marks on white noise",
        )
    ]
    for family in COUNT_KEYS:
        count = sum(families[series.run] == family for series, _ in calibrated)
        samples = sum(len(series.values) - 1 for series, _ in finds if families[series.run] == family)
        rows.append(
            ComparedClaim(
                f"jumps/{family}",
                int((recorded.family == family).sum()),
                int((repaired.family == family).sum()),
                count,
                GAUSSIAN_TAIL * samples,
            )
        )
    phases = np.array([jump.phase for _, jump in calibrated])
    for name, low, high in (("early", 0.0, 0.1), ("mid", 0.1, 0.5), ("late", 0.5, 1.01)):
        inside = lambda x, low=low, high=high: float(((x >= low) & (x < high)).mean()) if len(x) else None  # noqa: E731
        rows.append(
            ComparedClaim(
                f"share {name}",
                inside(recorded.published_phase),
                inside(repaired.phase),
                inside(phases),
                min(high, 1) - low,
                f"recorded column at its true time: {inside(recorded.phase):.3f}",
            )
        )
    return rows


def convergence_rows(runs: list[PublishedRun], rng: np.random.Generator) -> list[ComparedClaim]:
    """How many layers are settled at once, and in which order they settle."""
    first = {m: [_first_value(s) for run in runs for s in run.series(m)] for m in (RECORDED, "stable_rank")}
    honest = [critical.settling_time(s) for run in runs for s in run.series("stable_rank")]
    orders = [run_layer_order(run, rng) for run in runs]
    at_zero = [sum(value == 0 for value in values) / len(values) for values in first.values()]
    simultaneous = sum(order.order == "simultaneous" for order in orders)
    return [
        ComparedClaim(
            "share of layers stable at step 0",
            at_zero[0],
            at_zero[1],
            sum(s.came_to_rest and s.step == 0 for s in honest) / len(honest),
            None,
            "the published rule asks for one calm window only",
        ),
        ComparedClaim(
            "share of layers that never settle",
            None,
            None,
            sum(s.moves_on for s in honest) / len(honest),
            None,
        ),
        ComparedClaim(
            "runs with simultaneous layers",
            None,
            None,
            simultaneous,
            None,
            f"permutation test: {_count_words([order.order for order in orders])}",
        ),
    ]


def run_layer_order(run: PublishedRun, rng: np.random.Generator) -> critical.LayerOrder:
    """Whether this run's layers settle in order of depth."""
    return critical.order_of_layers([critical.settling_time(s).step for s in run.series("stable_rank")], rng)


def critical_rows(runs: list[PublishedRun], rng: np.random.Generator) -> list[ComparedClaim]:
    """Coordination of fast periods beyond chance, and the loss at fast periods against its base rate."""
    recorded = [_fast_periods(run, RECORDED, rng) for run in runs]
    repaired = [_fast_periods(run, "stable_rank", rng) for run in runs]
    links = [
        critical.loss_link([s.values for s in run.series("stable_rank")], run.loss, rng, shifts=20)
        for run in runs
    ]
    raw = [
        critical.loss_link([s.values for s in run.series(RECORDED)], run.loss, rng, shifts=1) for run in runs
    ]
    strong = sum(p is not None and p.highest >= critical.TOGETHER for p in recorded)
    return [
        ComparedClaim(
            "runs with coordination of half of the layers",
            strong,
            sum(p is not None and p.highest >= critical.TOGETHER for p in repaired),
            sum(p is not None and p.p < 0.05 for p in repaired),
            0.05 * len(runs),
            "calibrated: beyond circular shifts at p < .05; null: expected by chance",
        ),
        ComparedClaim(
            "share of fast samples at which the loss fell",
            _mean_or_none([x.fell for x in raw]),
            _mean_or_none([x.fell for x in links]),
            _mean_or_none([x.difference for x in links]),
            _mean_or_none([x.base for x in links]),
            "calibrated: difference to the base rate, which is the null",
        ),
    ]


def _fast_periods(run: PublishedRun, measure: str, rng: np.random.Generator) -> critical.Periods | None:
    """Beside circular shifts of the layers against each other."""
    return critical.fast_periods([s.values for s in run.series(measure)], rng, shifts=100)


def concentration_rows(recorded: pd.DataFrame, finds: Found, families: dict[str, str]) -> list[ComparedClaim]:
    """Jumps per run of CNN against MLP, and where in a transformer they sit."""
    per_run: Any = recorded.groupby(["family", "experiment"]).size().groupby("family").mean()
    transformer: Any = recorded[recorded.family == "transformer"]
    linear2 = float(transformer.layer.str.endswith("linear2").mean()) if len(transformer) else None
    pairs = [(s, j) for s, jumps in finds for j in jumps if families[s.run] == "transformer"]
    layers = [s for s, _ in finds if families[s.run] == "transformer"]
    rates = {family: _per_layer(finds, families, family) for family in COUNT_KEYS}
    ratio = float(per_run["cnn"] / per_run["mlp"]) if {"cnn", "mlp"} <= set(per_run.index) else None
    calibrated = rates["cnn"] / rates["mlp"] if rates["cnn"] is not None and rates["mlp"] else None
    return [
        ComparedClaim(
            "CNN over MLP, jumps",
            None,
            ratio,
            calibrated,
            1.0,
            "published from one pair of runs; repaired: per run on the recorded column; calibrated: per layer",
        ),
        ComparedClaim(
            "share of transformer jumps in linear2",
            None,
            linear2,
            sum(s.layer.endswith("linear2") for s, _ in pairs) / len(pairs) if pairs else None,
            sum(s.layer.endswith("linear2") for s in layers) / len(layers) if layers else None,
            "published from five picked jumps; null: share of layers that are linear2",
        ),
    ]


def _per_layer(finds: Found, families: dict[str, str], family: str) -> float | None:
    """Mean number of jumps in a layer of this family; None where there is no layer."""
    counts = [len(jumps) for series, jumps in finds if families[series.run] == family]
    return float(np.mean(counts)) if counts else None


def compare_claims(
    runs: list[PublishedRun], finds: Found, rng: np.random.Generator, stated: Mapping[str, float]
) -> list[ComparedClaim]:
    """All claims; `finds` are the calibrated jumps of the repaired stable rank, `stated` what the report said."""
    families = {run.name: run.family for run in runs}
    recorded, repaired = jump_table(runs, RECORDED), jump_table(runs, "stable_rank")
    rows = [
        *jump_rows(recorded, repaired, finds, families),
        *concentration_rows(recorded, finds, families),
        *convergence_rows(runs, rng),
        *critical_rows(runs, rng),
    ]
    return [replace(row, stated=stated.get(row.claim)) for row in rows]


def _first_value(series: Series) -> float | None:
    """By the original's own rule."""
    return original_stabilization(series.values)


def _mean_or_none(values: list[float | None]) -> float | None:
    """Over what is known."""
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def _count_words(words: list[str]) -> str:
    """For a sentence."""
    return ", ".join(f"{word} {words.count(word)}" for word in sorted(set(words)))
