"""An alignment run: the five published numbers of every couple, each beside its nulls."""

from typing import Any

import pandas as pd

from digsite.graft.config import AlignmentConfig
from digsite.graft.core.metrics import paired_interval
from digsite.graft.experiments.jobs import list_couples, work_ahead
from digsite.graft.figures import ledger as figures
from digsite.graft.judge.alignment import align_couple
from digsite.record.verdict import cite
from digsite.worker.run import Run

NUMBERS = {
    "error": "Error of the rotation, share of the features",
    "nearest": "New class to the nearer shared class, in spreads",
    "farthest": "New class to the farther shared class, in spreads",
    "angle": "Angle between the ways to both, degrees",
    "cosine": "Cosine of both networks' features of one image",
    "free": "Share of the new class in the least used directions",
}
KINDS = {"found": "the donor", "blind": "a donor that never saw the class", "wrong": "images paired wrongly"}


def study_alignment(config: AlignmentConfig, run: Run) -> None:
    """`<pair>/<number>`: what the couple gives beside wrong pairings; `<pair>/<number>/known`: beyond a blind donor."""
    rows: list[dict[str, Any]] = []
    for name, seed, done in work_ahead(run, config, align_couple, list_couples(config)):
        for kind in KINDS:
            rows += [{"pair": name, "seed": seed, "kind": kind, **row} for row in done[kind]]
    table = pd.DataFrame(rows)
    run.table("alignment", table)
    run.view("alignment", kind="table", source="tables/alignment.csv")
    for pair, part in table.groupby("pair", sort=False):
        _claim_pair(run, str(pair), part)
    run.figure(
        "alignment",
        figures.draw_alignment(table, NUMBERS, KINDS),
        table,
        caption="Each point is one couple; gray: the donor's images paired with the wrong ones.",
    )
    first = str(table["pair"].iloc[0])
    run.headline([f"{first}/error", f"{first}/nearest/known", f"{first}/free/known"], hero="alignment")
    run.verdict(
        f"Features of the same images turn onto each other with an error of {cite(f'{first}/error')} where wrongly paired "
        f"images give {cite(f'{first}/error', 'null')}, and with it {cite(f'{first}/cosine')} of cosine ('{first}'). But a donor "
        f"that never saw the class differs from one that did by {cite(f'{first}/error/known')} in error, by "
        f"{cite(f'{first}/nearest/known')} spreads in the distance to the nearer class and by {cite(f'{first}/free/known')} in the "
        "share of free space: an alignment says how alike two networks are, and only what is beyond a blind donor can come from "
        "knowing the class."
    )


def _claim_pair(run: Run, pair: str, part: pd.DataFrame) -> None:
    seeds = sorted(set(part["seed"].tolist()))
    for number, title in NUMBERS.items():
        aligned, wrong, blind = (
            _means_by_seed(part, kind, number, seeds) for kind in ("found", "wrong", "blind")
        )
        over = paired_interval(aligned, [0.0] * len(aligned))
        run.claim(
            f"{pair}/{number}",
            over.value,
            interval=over,
            null=sum(wrong) / len(wrong),
            null_is="the donor's images paired with wrong ones",
            title=f"{title}, '{pair}'",
        )
        if blind:
            gap = paired_interval(aligned, blind)
            run.claim(
                f"{pair}/{number}/known",
                gap.value,
                interval=gap,
                kind="difference",
                null=0.0,
                null_is="a donor that never saw the class",
                title=f"{title}, beyond a donor that never saw the class, '{pair}'",
            )


def _means_by_seed(part: pd.DataFrame, kind: str, number: str, seeds: list[int]) -> list[float]:
    """One value per seed, means over the draws of a null; empty where this kind was not measured."""
    own = part[part["kind"] == kind]
    if own.empty:
        return []
    return [float(own[own["seed"] == seed][number].to_numpy().mean()) for seed in seeds]
