"""prune-quality, prune-repairs and prune-smaller: what each method, repair and allocation costs, and what a quarter less
structure costs and buys, over independent calibration sets.
"""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from digsite.base import families
from digsite.base.errors import UsageError
from digsite.base.intervals import seed_interval
from digsite.figures import bars
from digsite.prune.config import QualityConfig, SmallerConfig
from digsite.prune.core import layers, patterns
from digsite.prune.core.budget import FAMILY as ALLOCATIONS
from digsite.prune.core.budget import BudgetSettings
from digsite.prune.core.matrix import method_named
from digsite.prune.core.model import Recipe, prune_model
from digsite.prune.core.patterns import SparsityPattern
from digsite.prune.core.repair import FAMILY as REPAIRS
from digsite.prune.core.repair import RepairSettings
from digsite.prune.core.smaller import Smaller, shrink_model
from digsite.prune.experiments import masks
from digsite.prune.figures.masks import quality_curves
from digsite.prune.judge.cost import compare_speed
from digsite.prune.judge.perplexity import Perplexity, ToldApart, measure_perplexity, tell_apart
from digsite.prune.subjects.language import Language, Windows, calibration_tokens, draw_windows
from digsite.record.verdict import cite

if TYPE_CHECKING:
    from digsite.worker.run import Run


def study_quality(config: QualityConfig, run: "Run") -> None:
    """Every method at every level on several calibration draws, beside the dense model."""
    dense = run.once("dense", lambda: _measure_quality(masks.fresh_language(config, run), config))
    run.say(
        f"dense: {dense['loss']:.4f} {dense['unit']}, perplexity {dense['perplexity']:.3f} at context {dense['context']}"
    )
    levels = [level for level in config.levels if _fits_model(level, config, run)]
    rows, cells = [], _list_cells(levels, config, run)
    for position, (method, level) in enumerate(cells):
        run.stage(f"{method} at {level}", len(cells))
        for draw in range(config.draws):
            if draw and method == "magnitude":
                continue  # it looks at no inputs, so every draw gives the same
            rows.append(
                run.once(
                    f"{method}-{level}-{draw}",
                    lambda m=method, lv=level, d=draw: _prune_cell(config, run, m, lv, d),
                )
            )
        run.let_signals_in(position + 1)
    frame = tabulate_costs_apart(run, rows, ("cpu seconds", "cost"))
    run.table("draws", frame)
    _conclude_quality(config, run, dense, frame)


def tabulate_costs_apart(run: "Run", rows: list[dict], measured: tuple[str, ...]) -> pd.DataFrame:
    """What this machine's speed decides stands beside the clock, since two equal runs differ in it: columns `measured`.

    Each row is named by its first columns, up to its draw.
    """
    frame = pd.DataFrame(rows)
    for row in rows:
        name = "/".join(str(row[key]) for key in ("method", "choice", "level", "draw") if key in row)
        run.cost(
            name, row.get("cpu seconds", 0.0), **{key: row[key] for key in measured if key != "cpu seconds"}
        )
    return frame.drop(columns=list(measured))


def _fits_model(level: str, config: QualityConfig, run: "Run") -> bool:
    """Whether an n:m pattern divides every map of this model; one that does not is left out and said."""
    pattern = level_named(level)
    maps = [
        linear
        for block in layers.list_blocks(masks.fresh_language(config, run).model)
        for linear in block.maps
    ]
    odd = [linear.name for linear in maps if pattern.structured and linear.weight.shape[1] % pattern.m]
    if odd:
        run.say(f"{level} is left out: it does not divide the inputs of {len(odd)} maps, first {odd[0]}")
    return not odd


def _list_cells(levels: list[str], config: QualityConfig, run: "Run") -> list[tuple[str, str]]:
    """Every method at every level; an allocation has nothing to spread where a pattern fixes one share for all."""
    free = {"owl", *families.list_members(ALLOCATIONS)}
    cells = [(method, level) for level in levels for method in config.methods]
    idle = [(m, lv) for m, lv in cells if level_named(lv).structured and free & set(m.split("+")[1:])]
    if idle:
        named = ", ".join(f"{method} at {level}" for method, level in idle)
        run.say(f"left out, since the pattern fixes one share for all maps: {named}")
    if len(idle) == len(cells):
        raise UsageError(
            f"Nothing is left to prune: no method of {config.methods} goes with a level of {config.levels} on this model."
        )
    return [cell for cell in cells if cell not in idle]


def _prune_cell(config: QualityConfig, run: "Run", method: str, level: str, draw: int) -> dict:
    """One pruned model, scored on text that no calibration saw."""
    subject, recipe = masks.fresh_language(config, run), recipe_of_cell(config, method, level)
    spent: dict[str, float] = {}
    ledger = prune_model(subject.model, calibration_tokens(subject, config, draw), recipe, costs=spent)
    errors = [line.relative_error for line in ledger if line.relative_error is not None]
    measured = _measure_quality(subject, config)
    sparsity = float(
        np.average(
            [line.sparsity for line in ledger],
            weights=[line.mask.n_features * line.mask.n_bits for line in ledger],
        )
    )
    return {
        "method": method,
        "level": level,
        "draw": draw,
        **measured,
        "sparsity": sparsity,
        "relative error": float(np.mean(errors)) if errors else math.nan,
        "cpu seconds": sum(spent.values()),
        "cost": ", ".join(f"{k} {v:.1f}" for k, v in spent.items()),
    }


def _measure_quality(subject: Language, config: QualityConfig) -> dict:
    """Bits per byte where bytes are known: the only unit that compares tokenizers."""
    held = _held_out(subject, config)
    measured: Perplexity = measure_perplexity(subject.model, held.tokens, n_bytes=held.n_bytes)
    bits = measured.bits_per_byte
    return {
        "loss": measured.nats / math.log(2) if bits is None else bits,
        "unit": "bits per token" if bits is None else "bits per byte",
        "perplexity": measured.perplexity,
        "context": measured.context,
    }


def _held_out(subject: Language, config: QualityConfig) -> Windows:
    """The other half of the text."""
    given = config.calibration
    return draw_windows(subject, given.text, config.windows, given.length, config.seed, "test")


def recipe_of_cell(config: QualityConfig, method: str, level: str) -> Recipe:
    """The recipe of one cell with the study's own numbers for repairs and allocations."""
    repairs = RepairSettings(
        epochs=config.epochs, learning_rate=config.learning_rate, precision=config.precision
    )
    recipe = recipe_named(method, level, config.swaps, repairs)
    return replace(
        recipe,
        budget_settings=BudgetSettings(evaluations=config.evaluations),
        settings=config.numbers_of(recipe.method),
    )


def recipe_named(method: str, level: str, swaps: int, repairs_with: RepairSettings | None = None) -> Recipe:
    """'wanda+swaps+sub_block+evolution' at a level: a method, then repairs and at most one allocation in any order."""
    name, *extras = method.split("+")
    repairs, allocations = families.list_members(REPAIRS), families.list_members(ALLOCATIONS)
    known = {"swaps", "owl", *repairs, *allocations}
    if unknown := set(extras) - known:
        raise UsageError(
            f"'{method}' has an unknown addition '{min(unknown)}'; accepted are +{', +'.join(sorted(known))}."
        )
    chosen = [extra for extra in extras if extra in allocations and extra != "owl"]
    if len(chosen) > 1:
        raise UsageError(
            f"'{method}' names two allocations, {' and '.join(chosen)}; one at most is accepted."
        )
    return Recipe(
        method_named(name),
        level_named(level),
        swap=swaps if "swaps" in extras else 0,
        owl="owl" in extras,
        repair=tuple(extra for extra in extras if extra in repairs and extra != "swaps"),
        allocation="".join(chosen),
        repair_settings=repairs_with or RepairSettings(),
    )


def level_named(level: str) -> SparsityPattern:
    """'60%' or '2:4'."""
    if level.endswith("%"):
        try:
            return patterns.parse_pattern(float(level[:-1]) / 100)
        except ValueError:
            raise UsageError(f"'{level}' is not a level; write 60% or 2:4.") from None
    return patterns.parse_pattern(pattern=level)


def _conclude_quality(config: QualityConfig, run: "Run", dense: dict, frame: pd.DataFrame) -> None:
    """Loss after each method, with an interval over calibration draws."""
    unit, summary = dense["unit"], []
    note = f"perplexity {dense['perplexity']:.3f} at context {dense['context']}"
    run.claim("dense", dense["loss"], unit=unit, better="lower", title="Loss of the dense model", note=note)
    for key, part in frame.groupby(["level", "method"], sort=False):
        level, method = key  # pyright: ignore[reportGeneralTypeIssues]
        over = seed_interval(part["loss"].tolist(), "median")
        note = f"perplexity {part['perplexity'].mean():.3f} at context {dense['context']}, relative layer error {part['relative error'].mean():.4f}"
        beside = {"null": dense["loss"], "null_is": "the dense model", "unit": unit, "better": "lower"}
        title = f"Loss after {method} at {level}"
        run.claim(f"{level}/{method}", interval=over, kind="median", title=title, note=note, **beside)
        summary.append(
            {
                "level": level,
                "method": method,
                "loss": over.value,
                "low": over.low,
                "high": over.high,
                "perplexity": part["perplexity"].mean(),
                "context": dense["context"],
                "relative error": part["relative error"].mean(),
                "sparsity": part["sparsity"].mean(),
            }
        )
    table = pd.DataFrame(summary).astype({"low": float, "high": float})
    run.table("quality", table)
    run.view("quality", kind="table", source="tables/quality.csv")
    run.figure(
        "quality",
        quality_curves(table, dense["loss"], unit),
        table,
        caption="Loss after pruning, with intervals over calibration sets; gray: dense.",
    )
    rankings = _claim_margins(run, frame, unit)
    run.headline(
        [f"{level}/best_beside_second" for level, ranking in rankings.items() if ranking.second],
        hero="quality",
    )
    run.verdict(_say_best(unit, rankings))


def _claim_margins(run: "Run", frame: pd.DataFrame, unit: str) -> dict[str, ToldApart]:
    """By level what can be told apart, and how much the two best differ on the same calibration sets; 0 is no difference."""
    rankings = {}
    for level, part in frame.groupby("level", sort=False):
        losses = part.pivot(index="draw", columns="method", values="loss").ffill()  # magnitude has one draw
        rankings[str(level)] = ranking = tell_apart(losses)
        if not ranking.second:
            continue
        run.claim(
            f"{level}/best_beside_second",
            ranking.margin.value,
            interval=ranking.margin,
            null=0.0,
            unit=unit,
            kind="difference",
            better="higher",
            null_is="no difference",
            note="on the same calibration sets, loss of the second minus the best",
            title=f"Loss that {ranking.best} saves beside {ranking.second} at {level}",
        )
    return rankings


def _say_best(unit: str, rankings: dict[str, ToldApart]) -> str:
    """The lowest loss of each level, called best only where no other interval meets it, and where the usual order holds."""
    best = "; ".join(_say_level(level, ranking) for level, ranking in rankings.items())
    orders = {
        word: [f"'{level}'" for level, ranking in rankings.items() if ranking.order == word]
        for word in ("holds", "does not hold", "cannot be told")
    }
    order = "; ".join(f"{word} at {', '.join(levels)}" for word, levels in orders.items() if levels)
    return f"Lowest {unit} at each level (dense {cite('dense', style='.3f')}): {best}." + (
        f" SparseGPT < Wanda < magnitude {order}." if order else ""
    )


def _say_level(level: str, ranking: ToldApart) -> str:
    """One level: the best and how far below the next it is, or the names of those that cannot be told apart."""
    lowest = f"'{level}' '{ranking.best}' {cite(f'{level}/{ranking.best}', style='.3f')}"
    if not ranking.second:
        return lowest
    if not ranking.ties:
        return f"{lowest}, {cite(f'{level}/best_beside_second', style='.3f')} below '{ranking.second}'"
    *first, last = (f"'{name}'" for name in ranking.ties)
    ties = f"{', '.join(first)} and {last}" if first else last
    return f"{lowest}, which cannot be told apart from {ties}"


# prune-smaller: heads, neurons and layers removed for good: what it costs in prediction, what it buys in time.

CHOICES = ("energy", "energy, not refitted", "random")
TIMED = 8  # windows of the forward pass that is timed


def study_smaller(config: SmallerConfig, run: "Run") -> None:
    """Every choice on several calibration sets; the random one is refitted too, so that only the choice differs."""
    dense = run.once("dense", lambda: _measure_loss(config, masks.fresh_language(config, run)))
    rows = []
    for draw in range(config.draws):
        run.stage(f"calibration set {draw}", config.draws)
        for choice in CHOICES:
            rows.append(
                run.once(f"{choice}-{draw}", lambda c=choice, d=draw: _shrink_cell(config, run, c, d))
            )
        run.let_signals_in(draw + 1)
    frame = tabulate_costs_apart(run, rows, ("speed-up",))
    faster = [row["speed-up"] for row in rows if row["choice"] == CHOICES[0]]
    run.say(
        f"measured speed-up of a forward pass ({TIMED} windows, threads: {torch.get_num_threads()}, torch {torch.__version__}): "
        f"{np.median(faster):.2f} times, {min(faster):.2f} to {max(faster):.2f} over calibration sets"
    )
    run.table("draws", frame)
    _conclude_smaller(run, dense, frame)


def _shrink_cell(config: SmallerConfig, run: "Run", choice: str, draw: int) -> dict:
    """One smaller model: its loss, its size, and its speed measured in turns with the original's."""
    subject, before = masks.fresh_language(config, run), masks.fresh_language(config, run).model
    plan = Smaller(
        config.share, config.remove_layers, config.heads, choice.split(",")[0], "not" not in choice, seed=draw
    )
    tokens = calibration_tokens(subject, config, draw)
    shrink_model(subject.model, tokens, plan)
    timed = compare_speed(before, subject.model, tokens[:TIMED], config.turns)
    sizes = [sum(p.numel() for p in model.parameters()) for model in (before, subject.model)]
    return {
        "choice": choice,
        "draw": draw,
        **_measure_loss(config, subject),
        "parameters": sizes[1],
        "share of parameters": sizes[1] / sizes[0],
        "speed-up": timed.ratio,
    }


def _measure_loss(config: SmallerConfig, subject: Language) -> dict:
    """Nats and perplexity on the other half of the text."""
    given = config.calibration
    held = draw_windows(subject, given.text, config.windows, given.length, config.seed, "test")
    measured = measure_perplexity(subject.model, held.tokens, n_bytes=held.n_bytes)
    return {"nats": measured.nats, "perplexity": measured.perplexity, "context": measured.context}


def _conclude_smaller(run: "Run", dense: dict, frame: pd.DataFrame) -> None:
    """Losses beside a random quarter of the same size, over calibration sets."""
    lines = []
    null = float(frame[frame["choice"] == "random"]["nats"].median())  # pyright: ignore[reportArgumentType]
    for choice, part in frame.groupby("choice", sort=False):
        over = seed_interval(part["nats"].tolist(), "median", least=0.0)
        lines.append(
            {
                "choice": choice,
                "nats": over.value,
                "perplexity": part["perplexity"].median(),
                "share of parameters": part["share of parameters"].mean(),
            }
        )
        if choice != "random":
            run.claim(
                f"{choice}/nats",
                interval=over,
                null=null,
                null_is="a random quarter, refitted",
                rivals={"dense": dense["nats"]},
                unit="nats per token",
                kind="median",
                better="lower",
                title=f"Loss with a quarter less structure, chosen by {choice}",
                note="over calibration sets",
            )
    table = pd.DataFrame(lines)
    run.table("smaller", table)
    run.view("smaller", kind="table", source="tables/smaller.csv")
    _answer_smaller(run, dense, table)


def _answer_smaller(run: "Run", dense: dict, table: pd.DataFrame) -> None:
    """What is left and what it costs, beside the dense model and a random quarter."""
    run.claim(
        "share_of_parameters",
        float(table["share of parameters"].iloc[0]),
        title="Parameters that are left of the dense model's",
    )
    run.figure(
        "loss",
        bars(
            {"dense": dense["nats"], **table.set_index("choice")["nats"].to_dict()},
            y="nats per token",
            gray=["dense", "random"],
        ),
        table,
        caption="Loss with a quarter less structure; gray: the dense model and a random quarter of the same size.",
    )
    run.headline(["energy/nats"], hero="loss")
    run.verdict(
        f"With {cite('share_of_parameters', style='.0%')} of the parameters left the loss is {cite('energy/nats', style='.3f')} nats "
        f"per token (dense {cite('energy/nats', 'dense', '.3f')}, random structure of the same size "
        f"{cite('energy/nats', 'null', '.3f')}).",
        on=["energy/nats", "share_of_parameters"],
    )
