"""dictionary-truth: every kind of dictionary on activations whose features are known, over worlds and reseeds."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from digsite.base.intervals import Interval, seed_interval
from digsite.figures import bars
from digsite.graft.config import DictionaryTruthConfig
from digsite.graft.core.dictionaries import Spec, kinds, train_saes
from digsite.graft.core.directions import directions_of
from digsite.graft.judge.dictionary_truth import (
    principal_directions,
    random_directions,
    score_directions,
    score_truth,
)
from digsite.graft.subjects.known_features import World, draw_activations, draw_world
from digsite.record.verdict import cite

if TYPE_CHECKING:
    from digsite.worker.run import Run

SCORES = ("mcc", "f1", "explained", "open_codes")
LIMITS = {"mcc": (0.0, 1.0), "f1": (0.0, 1.0), "explained": (-math.inf, 1.0), "open_codes": (0.0, math.inf)}
NULLS = ("random directions", "principal directions")


def dictionary_truth(config: DictionaryTruthConfig, run: "Run") -> None:
    """Choose each kind's sparsity on development worlds, then score fresh worlds with several reseeds of everything."""
    rows = []
    for world_kind in config.worlds:
        run.stage(f"{world_kind} worlds", config.seeds)
        chosen = run.once(f"knobs-{world_kind}", lambda w=world_kind: _choose_knobs(config, run, w))
        run.say(f"{world_kind}: sparsity chosen on a development world: {chosen}")
        for seed in range(config.seeds):
            rows += run.once(
                f"{world_kind}-{seed}",
                lambda w=world_kind, s=seed, k=chosen: _score_world(config, run, w, s, k),
            )
            run.let_signals_in(seed + 1)
    frame = pd.DataFrame(rows)
    run.table("dictionaries", frame)
    run.view("dictionaries", kind="table", source="tables/dictionaries.csv")
    _conclude(run, frame)


def _world(config: DictionaryTruthConfig, run: "Run", kind: str, seed: int, purpose: str) -> World:
    return draw_world(
        kind,
        config.n_features,
        config.width,
        mean_on=config.mean_on,
        seed=run.derive(f"{purpose}-{kind}", seed),
    )


def _choose_knobs(config: DictionaryTruthConfig, run: "Run", world_kind: str) -> dict[str, float]:
    """The sparsity of largest MCC on a world that is used for nothing else."""
    world = _world(config, run, world_kind, 0, "development")
    x, _ = draw_activations(world, config.samples, seed=run.derive("development-samples"))
    best = {}
    for kind in kinds():
        knobs = config.knobs[kind]
        specs = [Spec(kind, config.codes, knob, 0) for knob in knobs]
        saes = train_saes(x, specs, steps=config.steps, lr=config.lr, batch=config.batch, seed=0)
        found = [score_directions(directions_of(sae, x), world.directions) for sae in saes]
        best[kind] = knobs[int(np.argmax(found))]
    return best


def _score_world(
    config: DictionaryTruthConfig, run: "Run", world_kind: str, seed: int, knobs: dict[str, float]
) -> list[dict]:
    world = _world(config, run, world_kind, seed, "world")
    x, _ = draw_activations(world, config.samples, seed=run.derive("samples", seed))
    held, codes = draw_activations(world, config.held, seed=run.derive("held-out", seed))
    rows = []

    def scored(
        name: str, reseed: int, found: Tensor, encode: Callable[[Tensor], Tensor], rebuilt: Tensor
    ) -> None:
        score = score_truth(found, encode(held), rebuilt, held, world.directions, codes > 0)
        rows.append({"world": world_kind, "seed": seed, "dictionary": name, "reseed": reseed, **vars(score)})

    for kind in kinds():
        specs = [
            Spec(kind, config.codes, knobs[kind], run.derive("reseed", seed, r))
            for r in range(config.reseeds)
        ]
        saes = train_saes(x, specs, steps=config.steps, lr=config.lr, batch=config.batch, seed=seed)
        for reseed, sae in enumerate(saes):
            with torch.no_grad():
                scored(kind, reseed, directions_of(sae, x), sae.encode, sae(held))
    for reseed in range(config.reseeds):
        rows_of = random_directions(
            config.width, config.codes, run.generator("random-directions", seed, reseed)
        )
        scored(
            NULLS[0],
            reseed,
            rows_of,
            lambda h, d=rows_of: h @ d.T,
            _projected(held, x, rows_of[: config.width // 2]),
        )
    axes = principal_directions(x, config.codes)
    for reseed in range(config.reseeds):
        scored(
            NULLS[1],
            reseed,
            axes,
            lambda h: (h - x.mean(0)) @ axes.T,
            _projected(held, x, axes[: config.width // 2]),
        )
    return rows


def _projected(held: Tensor, x: Tensor, rows: Tensor) -> Tensor:
    """Held-out activations rebuilt from half as many directions as there are dimensions: all of them rebuild anything."""
    basis = torch.linalg.qr(rows.T).Q
    return x.mean(0) + (held - x.mean(0)) @ basis @ basis.T


def _conclude(run: "Run", frame: pd.DataFrame) -> None:
    """Intervals over worlds of the mean over reseeds, beside how much reseeding alone moves a score."""
    lines = []
    for world, part in frame.groupby("world", sort=False):
        null = part[part["dictionary"] == NULLS[0]]
        rival = part[part["dictionary"] == NULLS[1]]
        for name, mine in part.groupby("dictionary", sort=False):
            line: dict = {"world": world, "dictionary": name}
            for score in SCORES:
                per_world = mine.groupby("seed")[score]
                noise = float(np.sqrt(per_world.var(ddof=1).mean())) if mine["reseed"].nunique() > 1 else None  # pyright: ignore[reportGeneralTypeIssues]
                least, most = LIMITS[score]
                over = seed_interval(per_world.mean().tolist(), "median", least=least, most=most)  # pyright: ignore[reportArgumentType]
                line |= {score: over.value, f"{score} low": over.low, f"{score} high": over.high}
                line[f"{score} reseeding"] = noise
                if score != "open_codes" and name not in NULLS:
                    rivals = {NULLS[0]: float(null[score].median()), NULLS[1]: float(rival[score].median())}  # pyright: ignore[reportArgumentType]
                    _claim_score(run, f"{world}/{name}/{score}", over, rivals, noise)
            lines.append(line)
    table = pd.DataFrame(lines)
    run.table("scores", table)
    run.view("scores", kind="table", source="tables/scores.csv")
    run.figure(
        "found",
        _picture(table),
        table,
        caption="Features found by kind of dictionary and world; gray: nulls.",
    )
    run.headline(
        [f"{world}/{_best(part)}/mcc" for world, part in table.groupby("world", sort=False)], hero="found"
    )
    run.verdict(_verdict(table))


WORDS = {
    "mcc": "True features found (mean cosine of matched directions)",
    "f1": "Codes that open where their feature is on (F1)",
    "explained": "Variance of held-out activations explained",
}


def _claim_score(
    run: "Run", name: str, over: Interval, rivals: dict[str, float], noise: float | None
) -> None:
    """A score over worlds beside directions that saw nothing or only variance."""
    world, kind, score = name.split("/")
    note = "" if noise is None else f"reseeding alone moves it by {noise:.3f} (sd)"
    title = f"{WORDS[score]}, '{kind}', {world} worlds"
    run.claim(name, interval=over, kind="median", better="higher", rivals=rivals, title=title, note=note)


def _best(part: pd.DataFrame) -> str:
    trained = part[~part["dictionary"].isin(NULLS)]
    return str(trained.loc[trained["mcc"].idxmax(), "dictionary"])


def _picture(table: pd.DataFrame) -> Figure:
    several = table["world"].nunique() > 1
    names = [
        f"{row.dictionary}, {row.world}" if several else str(row.dictionary)  # pyright: ignore[reportGeneralTypeIssues]
        for row in table.itertuples()  # pyright: ignore[reportGeneralTypeIssues]
    ]
    gray = [name for name in names if name.startswith(NULLS)]
    return bars(dict(zip(names, table["mcc"], strict=True)), y="true features found (MCC)", gray=gray)


def _verdict(table: pd.DataFrame) -> str:
    """Which kind finds most features in each kind of world, and whether reconstruction would have picked it."""
    parts = []
    for world, part in table.groupby("world", sort=False):
        trained = part[~part["dictionary"].isin(NULLS)]
        best, rebuilt = _best(part), str(trained.loc[trained["explained"].idxmax(), "dictionary"])
        mcc = cite(f"{world}/{rebuilt}/mcc", style=".2f")
        same = (
            "which also rebuilds best"
            if best == rebuilt
            else f"while '{rebuilt}' rebuilds best and has {mcc}"
        )
        claim = f"{world}/{best}/mcc"
        parts.append(
            f"{world}: '{best}' finds most (MCC {cite(claim, style='.2f')}, F1 {cite(f'{world}/{best}/f1', style='.2f')}; "
            f"directions that saw nothing or only variance {cite(claim, 'null', '.2f')}), {same}"
        )
    return ". ".join(parts) + "."
