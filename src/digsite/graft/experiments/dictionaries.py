"""dictionary-truth: autoencoders, crosscoders and transcoders of every kind where the features are known, over worlds and reseeds."""

import math
from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from digsite.base.intervals import Interval, seed_interval
from digsite.figures import bars
from digsite.figures.style import canvas
from digsite.graft.config import DictionariesConfig, DictionaryTruthConfig
from digsite.graft.core.dictionaries import (
    Sae,
    SaeSpec,
    directions_of,
    explain_by_principal,
    find_kind,
    list_kinds,
    measure_quality,
    train_saes,
)
from digsite.graft.core.nets import collect_acts
from digsite.graft.figures import ledger as figures
from digsite.graft.judge.dictionaries import (
    draw_random_directions,
    find_principal_directions,
    score_directions,
    score_owners,
    score_truth,
)
from digsite.graft.judge.summary import group_rows
from digsite.graft.subjects.known_features import FeatureWorld, draw_activations, draw_inputs, draw_world
from digsite.graft.subjects.sae_files import in_saelens, save_saelens, save_sparsify
from digsite.graft.subjects.theatre import open_theatre
from digsite.record.verdict import cite
from digsite.worker.run import Run

if TYPE_CHECKING:
    from digsite.worker.run import Run

SCORES = ("mcc", "f1", "explained", "open_codes", "owners")
LIMITS = {
    "mcc": (0.0, 1.0),
    "f1": (0.0, 1.0),
    "explained": (-math.inf, 1.0),
    "open_codes": (0.0, math.inf),
    "owners": (0.0, 1.0),
}
NULLS = ("random directions", "principal directions")


def study_dictionary_truth(config: DictionaryTruthConfig, run: "Run") -> None:
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
    _conclude_truth(run, frame)


def _draw_named_world(
    config: DictionaryTruthConfig, run: "Run", kind: str, seed: int, purpose: str
) -> FeatureWorld:
    """A world of one kind; `purpose` keeps development worlds and scored ones apart, whatever their seeds."""
    return draw_world(
        kind,
        config.n_features,
        config.width,
        mean_on=config.mean_on,
        seed=run.derive(f"{purpose}-{kind}", seed),
    )


def _choose_knobs(config: DictionaryTruthConfig, run: "Run", world_kind: str) -> dict[str, float]:
    """The sparsity of largest MCC on a world that is used for nothing else."""
    world = _draw_named_world(config, run, world_kind, 0, "development")
    sample = _draw_sample(world, config.samples, run.derive("development-samples"))
    best, true = {}, world.directions[world.written]
    for kind in list_kinds(world.models):
        knobs = config.knobs[kind]
        specs = [SaeSpec(kind, config.codes, knob, 0) for knob in knobs]
        saes = _train_on(world, sample, specs, config, 0)
        scores = [score_directions(directions_of(sae, sample.x), true) for sae in saes]
        best[kind] = knobs[int(np.argmax(scores))]
    return best


class _Sample(NamedTuple):
    """What a dictionary reads, what it should rebuild, and how strongly every feature is on."""

    x: Tensor
    wanted: Tensor
    codes: Tensor


def _draw_sample(world: FeatureWorld, n: int, seed: int) -> _Sample:
    """Activations to rebuild, or inputs and outputs of the world's map."""
    wanted, codes = draw_activations(world, n, seed)
    inputs = draw_inputs(world, codes, seed)
    return _Sample(wanted if inputs is None else inputs, wanted, codes)


def _train_on(
    world: FeatureWorld, sample: _Sample, specs: list[SaeSpec], config: DictionaryTruthConfig, seed: int
) -> list[Sae]:
    """Autoencoders, or what this world asks for: crosscoders of two models, transcoders of a map."""
    wanted = None if world.read is None else sample.wanted
    sizes = {"steps": config.steps, "lr": config.lr, "batch": config.batch}
    return train_saes(sample.x, specs, wanted=wanted, streams=world.models, seed=seed, **sizes)


def _fit_linearly(sample: _Sample) -> Callable[[Tensor], Tensor]:
    """What a map's outputs are by least squares from its inputs; where nothing is mapped, the inputs themselves."""
    if sample.x is sample.wanted:
        return lambda x: x
    at, to = sample.x.mean(0), sample.wanted.mean(0)
    weight = torch.linalg.lstsq(sample.x - at, sample.wanted - to).solution
    return lambda x: (x - at) @ weight + to


def _score_world(
    config: DictionaryTruthConfig, run: "Run", world_kind: str, seed: int, knobs: dict[str, float]
) -> list[dict]:
    """All kinds with several reseeds on one fresh world, and both nulls, as rows of the table."""
    world = _draw_named_world(config, run, world_kind, seed, "world")
    sample = _draw_sample(world, config.samples, run.derive("samples", seed))
    held = _draw_sample(world, config.held, run.derive("held-out", seed))
    true, on = world.directions[world.written], held.codes[:, world.written] > 0
    guess = _fit_linearly(sample)
    x, guessed = guess(sample.x), guess(held.x)
    rows = []

    def scored(name: str, reseed: int, directions: Tensor, codes: Tensor, rebuilt: Tensor) -> None:
        score = score_truth(directions, codes, rebuilt, held.wanted, true, on)
        row = {"world": world_kind, "seed": seed, "dictionary": name, "reseed": reseed, **vars(score)}
        if world.models > 1:
            row["owners"] = score_owners(directions, true, world.owners)
        rows.append(row)

    for kind in list_kinds(world.models):
        specs = [
            SaeSpec(kind, config.codes, knobs[kind], run.derive("reseed", seed, r))
            for r in range(config.reseeds)
        ]
        for reseed, sae in enumerate(_train_on(world, sample, specs, config, seed)):
            with torch.no_grad():
                scored(kind, reseed, directions_of(sae, sample.x), sae.encode(held.x), sae(held.x))
    width = true.shape[1]
    axes = find_principal_directions(x, config.codes)
    for reseed in range(config.reseeds):
        drawn = draw_random_directions(width, config.codes, run.generator("random-directions", seed, reseed))
        scored(NULLS[0], reseed, drawn, guessed @ drawn.T, _project_back(guessed, x, drawn[: width // 2]))
        back = _project_back(guessed, x, axes[: width // 2])
        scored(NULLS[1], reseed, axes, (guessed - x.mean(0)) @ axes.T, back)
    return rows


def _project_back(held: Tensor, x: Tensor, rows: Tensor) -> Tensor:
    """Held-out activations rebuilt from half as many directions as there are dimensions: all of them rebuild anything."""
    basis = torch.linalg.qr(rows.T).Q
    return x.mean(0) + (held - x.mean(0)) @ basis @ basis.T


def _conclude_truth(run: "Run", frame: pd.DataFrame) -> None:
    """Intervals over worlds of the mean over reseeds, beside how much reseeding alone moves a score."""
    lines = []
    for world, part in frame.groupby("world", sort=False):
        null = part[part["dictionary"] == NULLS[0]]
        rival = part[part["dictionary"] == NULLS[1]]
        for name, group in part.groupby("dictionary", sort=False):
            line: dict = {"world": world, "dictionary": name}
            for score in SCORES:
                if score not in group or not group[score].notna().any():  # pyright: ignore[reportGeneralTypeIssues]
                    continue  # who knows a feature is asked of two models only
                per_world = group.groupby("seed")[score]
                reseeded = len(group["reseed"].unique()) > 1
                noise = float(np.sqrt(per_world.var(ddof=1).mean())) if reseeded else None
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
        _draw_found(table),
        table,
        caption="Features found by kind of dictionary, a panel for each kind of world; gray: the better of random and principal directions.",
    )
    run.headline(
        [f"{world}/{_find_best(part)}/mcc" for world, part in table.groupby("world", sort=False)],
        hero="found",
    )
    run.verdict(_say_truth(table))


WORDS = {
    "mcc": "True features found (mean cosine of matched directions)",
    "f1": "Codes that open where their feature is on (F1)",
    "explained": "Variance of held-out activations explained",
    "owners": "Features said to be the right model's, by the directions alone",
}


LABELS = {"two_models": "two models (crosscoders)", "map": "a map (transcoders)"}


def _claim_score(
    run: "Run", name: str, over: Interval, rivals: dict[str, float], noise: float | None
) -> None:
    """A score over worlds beside directions that saw nothing or only variance."""
    world, kind, score = name.split("/")
    note = "" if noise is None else f"reseeding alone moves it by {noise:.3f} (sd)"
    title = f"{WORDS[score]}, '{kind}', {LABELS.get(world, f'{world} worlds')}"
    run.claim(name, interval=over, kind="median", better="higher", rivals=rivals, title=title, note=note)


def _find_best(part: pd.DataFrame) -> str:
    """The trained kind of largest MCC in a world's part of the table."""
    trained = part[~part["dictionary"].isin(NULLS)]
    return str(trained.loc[trained["mcc"].idxmax(), "dictionary"])


def _draw_found(table: pd.DataFrame) -> Figure:
    """MCC of every kind with its interval, a panel for each kind of world; the gray tick is the better of both nulls."""
    worlds = list(table.groupby("world", sort=False))
    columns = min(3, len(worlds))
    rows = -(-len(worlds) // columns)
    figure, axes = canvas(rows, columns, width=4.2 * columns, height=3.6 * rows, sharey=True, squeeze=False)
    for ax, (world, part) in zip(axes.flat, worlds):
        chance = float(part.loc[part["dictionary"].isin(NULLS), "mcc"].max())
        lines = part[~part["dictionary"].isin(NULLS)].set_index("dictionary").to_dict("index")
        scores, lows, highs = (
            {str(name): math.nan if line[key] is None else float(line[key]) for name, line in lines.items()}
            for key in ("mcc", "mcc low", "mcc high")
        )
        nulls = dict.fromkeys(scores, chance)
        label = LABELS.get(str(world), str(world))
        drawn = (
            {"lows": lows, "highs": highs}
            if all(map(math.isfinite, [*lows.values(), *highs.values()]))
            else {}
        )
        bars(scores, y="true features found (MCC)", title=label, nulls=nulls, ax=ax, **drawn)
    for ax in axes.flat[len(worlds) :]:
        ax.set_axis_off()
    for ax in axes.flat[1:]:
        ax.set_ylabel("")
        if legend := ax.get_legend():
            legend.remove()
    return figure


def _say_truth(table: pd.DataFrame) -> str:
    """Which kind finds most features in each kind of world, and whether reconstruction would have picked it."""
    parts = []
    for world, part in table.groupby("world", sort=False):
        trained = part[~part["dictionary"].isin(NULLS)]
        best, rebuilt = _find_best(part), str(trained.loc[trained["explained"].idxmax(), "dictionary"])
        mcc = cite(f"{world}/{rebuilt}/mcc", style=".2f")
        same = (
            "which also rebuilds best"
            if best == rebuilt
            else f"while '{rebuilt}' rebuilds best and has {mcc}"
        )
        claim = f"{world}/{best}/mcc"
        parts.append(
            f"{LABELS.get(str(world), world)}: '{best}' finds most (MCC {cite(claim, style='.2f')}, F1 {cite(f'{world}/{best}/f1', style='.2f')}; "
            f"directions that saw nothing or only variance {cite(claim, 'null', '.2f')}), {same}"
        )
    return ". ".join(parts) + "."


# Sparse autoencoders of every kind, trained as one ensemble on the receiver's features, saved in both layouts.

MEASURES = {
    "explained": "Variance of held-out features that is explained",
    "open_codes": "Codes open on average",
    "dead_frac": "Codes that never open",
}


def list_specs(config: DictionariesConfig) -> list[SaeSpec]:
    """Every kind with every width, sparsity and seed of the config."""
    knobs = {kind: config.counts if find_kind(kind).COUNTS else config.penalties for kind in list_kinds()}
    return [
        SaeSpec(kind, width, float(knob), seed)
        for kind in list_kinds()
        for width, knob, seed in product(config.widths, knobs[kind], range(config.members))
    ]


def study_dictionaries(config: DictionariesConfig, run: Run) -> None:
    """Train all of them as one ensemble on the receiver's features, score them on held-out ones, save what has a layout."""
    room = open_theatre(config, config.pairs[0], config.seed)
    train = collect_acts(room.pair.receiver, room.pools.old.x).last
    held = collect_acts(room.pair.receiver, room.pools.held_old.x).last
    wanted = list_specs(config)

    def compute() -> list[dict[str, Any]]:
        trained = train_saes(train, wanted, steps=config.steps, seed=config.seed)
        return [
            {"params": {k: v[0] for k, v in s.stack_parameters().items()}, "scale": s.scale} for s in trained
        ]

    saes = [Sae(spec, t["params"], t["scale"]) for spec, t in zip(wanted, run.once("ensemble", compute))]
    lines = [{**vars(s.spec), **measure_quality(s, held)} for s in saes]
    table = pd.DataFrame(lines)
    run.table("dictionaries", table)
    reached: dict[str, float] = {}
    for key, part in group_rows(table, "kind", "width", "sparsity"):
        name = "_".join(map(str, key))
        for measure, what in MEASURES.items():
            at = interval_of(part[measure].tolist())
            rank = round(sum(part["open_codes"].tolist()) / len(part))
            beside: dict[str, Any] = {}
            if measure == "explained":
                beside = {
                    "null": explain_by_principal(train, held, rank),
                    "better": "higher",
                    "kind": "share",
                    "null_is": "as many principal directions as codes are open",
                }
                reached[f"{name}/explained"] = at.value
            run.claim(f"{name}/{measure}", at.value, interval=at, title=f"{what}, '{name}'", **beside)
    for sae in saes:
        _save_sae(run, sae)
    best = max(reached, key=lambda name: reached[name])
    run.claim("autoencoders", len(saes), kind="count", title="Autoencoders trained as one ensemble")
    run.figure(
        "plane",
        figures.draw_dictionaries(table),
        table,
        caption="Sparse autoencoders: codes that are open against what they explain of held-out features.",
    )
    run.headline([best], hero="plane")
    run.verdict(
        f"Of {cite('autoencoders')} sparse autoencoders '{best.rpartition('/')[0]}' explains most of held-out features, "
        f"{cite(best, style='.1%')}, where as many principal directions as it has open codes explain "
        f"{cite(best, 'null', '.1%')}."
    )


def interval_of(values: list[float]) -> Interval:
    """A median over members with its interval."""
    return seed_interval(values, "median")


def _save_sae(run: Run, sae: Sae) -> None:
    """One member per setting, in the layouts that can hold it."""
    if sae.spec.seed or not in_saelens(sae.spec.kind):
        return
    folder = run.dir / "artifacts" / "saes" / f"{sae.spec.kind}-{sae.spec.width}-{sae.spec.sparsity:g}"
    save_saelens(sae, folder)
    if find_kind(sae.spec.kind).SPARSIFY:
        save_sparsify(sae, folder.with_name(f"{folder.name}-sparsify"))
