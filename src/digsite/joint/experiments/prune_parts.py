"""Parts kept instead of weights, on programs whose needed weights are known, beside pruners of one weight at a time."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from digsite.base.errors import DigsiteError, UsageError
from digsite.base.intervals import seed_interval
from digsite.figures import PALETTE, canvas, styled
from digsite.figures.style import NULL_COLOR
from digsite.joint.config import PrunePartsConfig
from digsite.joint.core import parts
from digsite.prune.core.model import prune_model
from digsite.prune.core.repair import RepairSettings
from digsite.prune.experiments.quality import recipe_named
from digsite.prune.judge.comparison import random_mask, right_counts, score_mask, share_answered
from digsite.prune.subjects.compiled import HiddenProgram, hide_program
from digsite.prune.subjects.language import draw_windows, load_language
from digsite.record.verdict import cite
from digsite.worker.run import Run

BY_PARTS: dict[str, Callable[..., parts.Scores]] = {
    "parts": parts.score_by_parts,
    "sparse parts": parts.score_by_sparse_parts,
    "attribution": parts.score_by_attribution,
}
NULL, LOW_RANK = "chance", "low rank"
WORDS = {
    "precision": "Kept weights that are needed",
    "recall": "Needed weights that are kept",
    "answered": "Positions answered rightly",
}


def study_prune_parts(config: PrunePartsConfig, run: Run) -> None:
    rows: list[dict[str, Any]] = []
    run.stage("programs", len(config.programs))
    for position, program in enumerate(config.programs):
        rows += run.once(program, lambda p=program: score_program(config, run, p), announce=False)
        run.let_signals_in(position + 1)
    table = pd.DataFrame(rows)
    run.table("masks", table)
    claim_parts(run, table, config.methods)
    about_blocks = study_blocks(config, run)
    run.figure(
        "parts",
        draw_parts(table),
        table,
        caption="Needed weights that are kept when each map keeps as many weights as it needs, and positions that are then still answered "
        "rightly; a dot is a program.",
    )
    run.view("masks", kind="table", source="tables/masks.csv")
    run.headline(["parts/recall", "parts/precision", "parts/answered"], hero="parts")
    run.verdict(
        f"Given the right number of weights in every map, of those that parts keep {cite('parts/precision', style='.0f')} % are needed "
        f"and they keep {cite('parts/recall', style='.0f')} % of all needed ones; of the pruners of single weights the best has "
        f"{cite('parts/precision', 'null', '.0f')} % and {cite('parts/recall', 'null', '.0f')} % (a random choice "
        f"{cite('parts/recall', 'chance', '.0f')} %). The program then answers rightly in {cite('parts/answered', style='.0f')} % of "
        f"positions, with the best of them in {cite('parts/answered', 'null', '.0f')} %.{about_blocks}",
        on=["*/recall", "*/answered"],
    )


def score_program(config: PrunePartsConfig, run: Run, program: str) -> list[dict[str, Any]]:
    """One row for each way of choosing which weights of a hidden program stay."""
    hidden = hide_program(program, config.factor, config.seed, config.inputs)
    counts = right_counts(hidden.needed)
    dense = {name: p.detach().clone() for name, p in hidden.model.named_parameters()}
    rows = []
    for name, score in BY_PARTS.items():
        keep = parts.keep_largest(score(hidden.model, list_maps(hidden), hidden.inputs), counts)
        rows.append(_row(program, name, hidden, keep, dense))
    for method in config.methods:
        recipe = recipe_named(
            method, "50%", config.swaps, RepairSettings(epochs=config.epochs, rows=16, learning_rate=1e-2)
        )
        pruned = prune_model(hidden.model, hidden.inputs, recipe, counts=counts)
        answered = _answers(hidden)
        hidden.model.load_state_dict(dense)
        keep = {pruned_map.name: pruned_map.keep for pruned_map in pruned}
        rows.append({**_row(program, method, hidden, keep, dense), "answered": answered})
    for draw in range(config.draws):
        keep = random_mask(hidden.needed, hidden.idle, counts, run.generator(f"chance-{program}", draw))
        rows.append(_row(program, NULL, hidden, keep, dense))
    parts.keep_low_rank(list_maps(hidden), counts)
    rows.append({"program": program, "method": LOW_RANK, "answered": _answers(hidden)})
    return rows


def list_maps(hidden: HiddenProgram) -> dict[str, nn.Linear]:
    return {name: hidden.model.get_submodule(name) for name in hidden.needed}  # pyright: ignore[reportReturnType]


def _row(
    program: str, method: str, hidden: HiddenProgram, keep: dict[str, Tensor], dense: dict[str, Tensor]
) -> dict[str, Any]:
    """Precision and recall of a mask in percent, and what the program says under it; the model is as before afterwards."""
    score = score_mask(keep, hidden.needed, hidden.idle)
    with torch.no_grad():
        for name, layer in list_maps(hidden).items():
            layer.weight.mul_(keep[name])
    answered = _answers(hidden)
    hidden.model.load_state_dict(dense)
    return {
        "program": program,
        "method": method,
        "precision": 100 * score.precision,
        "recall": 100 * score.recall,
        "answered": answered,
        "needed": sum(int(mask.sum()) for mask in hidden.needed.values()),
    }


def _answers(hidden: HiddenProgram) -> float:
    with torch.no_grad():
        return 100 * share_answered(hidden.model(hidden.inputs), hidden.wanted)


def claim_parts(run: Run, table: Any, methods: list[str]) -> None:
    """Medians over programs; the null of parts is the best pruner of single weights, that of all others a random choice."""
    per = table.groupby(["method", "program"], sort=False).mean(numeric_only=True)
    medians = per.groupby("method", sort=False).median()
    for method in (*BY_PARTS, *methods, LOW_RANK):
        for key, title in WORDS.items():
            values = per.loc[method, key].tolist()
            if per.loc[method, key].isna().all():
                continue
            over = seed_interval(values, "median", least=0.0, most=100.0)
            single = {m: float(medians.loc[m, key]) for m in methods}
            null, null_is = float(medians.loc[NULL, key]), "as many weights at random"
            rivals: dict[str, float] = {}
            if method == "parts":
                strongest = max(single, key=lambda m: single[m])
                rivals = {**single, "attribution": float(medians.loc["attribution", key]), NULL: null}
                null, null_is = single[strongest], f"the best pruner of single weights: {strongest}"
            run.claim(
                f"{method.replace(' ', '_')}/{key}",
                interval=over,
                null=null,
                null_is=null_is,
                unit="%",
                kind="median",
                better="higher",
                rivals=rivals,
                title=f"{title}, '{method}'",
            )


@styled
def draw_parts(table: pd.DataFrame) -> Any:
    order = [m for m in dict.fromkeys(table["method"]) if m != NULL] + [NULL]
    figure, axes = canvas(1, 2, width=7.6, height=0.9 + 0.27 * len(order), sharey=True)
    per: Any = table.groupby(["method", "program"]).mean(numeric_only=True)
    for ax, (key, label) in zip(
        axes, (("recall", "needed weights kept (%)"), ("answered", "answered rightly (%)"))
    ):
        for position, method in enumerate(order):
            values = per.loc[method, key].dropna()
            color = NULL_COLOR if method == NULL else PALETTE[1] if method == "parts" else PALETTE[0]
            ax.plot(values, [position] * len(values), "o", color=color, markersize=4, alpha=0.6)
            if len(values):
                ax.plot(
                    [values.median()] * 2, [position - 0.35, position + 0.35], color="black", linewidth=1.4
                )
        ax.set(xlabel=label, xlim=(-4, 104))
    axes[0].set_yticks(range(len(order)), order)
    axes[0].invert_yaxis()
    return figure


# Blocks of a trained story model: nobody knows which of its weights are needed, so what its answers lose is compared at equal bytes.

BLOCK_PARTS = {"parts": parts.share_of_parts, "lesser part": parts.lesser_part}
WHOLE, TOKENS = "whole parts", 64
BLOCKS_SHOWN = (
    "What the answers of a story model lose when one of its blocks is pruned, over the bytes that are left of the block: kept numbers, and "
    "for a mask a bit a weight. Median over blocks; text that nothing was calibrated on."
)
FIELD, HALF = "wanda", 0.5  # whose error at half of the weights is the one at which bytes are compared


@dataclass(frozen=True)
class Stage:
    """One block of a language model: its dense maps by name, the windows that ways are calibrated on, and those that answers are
    compared on."""

    model: nn.Module
    maps: dict[str, nn.Linear]
    calibration: Tensor
    held_out: Tensor

    @torch.no_grad()
    def say(self, rows: Tensor) -> Tensor:
        return self.model(rows).log_softmax(-1)

    def measure(self, rows: Tensor, wanted: Tensor) -> float:
        """Nats of KL by which the answers on `rows` have moved away from `wanted`."""
        return float((wanted.exp() * (wanted - self.say(rows))).sum(-1).mean())


def score_block(stage: Stage, config: PrunePartsConfig, generator: torch.Generator) -> list[dict[str, Any]]:
    """One row for each way and level: the share of the block's bytes that is left, and what the answers have lost."""
    dense = {name: layer.weight.detach().clone() for name, layer in stage.maps.items()}
    wanted, asked = stage.say(stage.held_out), stage.calibration[: config.asked]
    said = stage.say(asked)
    priced = {n: parts.price_parts(lambda: stage.measure(asked, said), m) for n, m in stage.maps.items()}
    scores = {way: {n: score(dense[n], *priced[n]) for n in dense} for way, score in BLOCK_PARTS.items()}
    scores["attribution"] = parts.score_by_attribution(stage.model, stage.maps, stage.calibration)
    scores[NULL] = {n: torch.rand(w.shape, generator=generator) for n, w in dense.items()}
    rows = []
    for sparsity in config.levels:
        left = parts.share_of_bytes(sparsity)
        counts = {n: round(sparsity * w.numel()) for n, w in dense.items()}
        gone = {n: round((1 - left) * w.numel()) for n, w in dense.items()}
        whole = {n: parts.keep_whole_parts(*priced[n], left * w.numel()) for n, w in dense.items()}
        masks = {way: parts.keep_largest(score, counts) for way, score in scores.items()} | {WHOLE: whole}
        changes = {way: partial(_mask, stage, keep) for way, keep in masks.items()}
        changes[LOW_RANK] = partial(parts.keep_low_rank, stage.maps, gone)
        changes |= {method: partial(_prune, stage, method, sparsity, config) for method in config.methods}
        for way, change in changes.items():
            change()
            moved = stage.measure(stage.held_out, wanted)
            rows.append({"way": way, "sparsity": sparsity, "bytes": left, "moved": moved})
            _mask(stage, {}, dense)
    return rows


@torch.no_grad()
def _mask(stage: Stage, keep: dict[str, Tensor], dense: dict[str, Tensor] | None = None) -> None:
    """The block's maps masked, or as they were."""
    for name, layer in stage.maps.items():
        layer.weight.copy_(dense[name] if dense else layer.weight * keep[name])


def _prune(stage: Stage, method: str, sparsity: float, config: PrunePartsConfig) -> None:
    recipe = recipe_named(method, f"{sparsity:.0%}", config.swaps, RepairSettings(epochs=config.epochs))
    prune_model(stage.model, stage.calibration, replace(recipe, include=tuple(stage.maps)))


def study_blocks(config: PrunePartsConfig, run: Run) -> str:
    """Every block in turn, the others whole; the sentence of the verdict on them, or nothing where there is no model."""
    if not config.model:
        return ""
    try:
        language = load_language(config.model)
    except DigsiteError as error:
        run.say(f"No block of a trained model was pruned: {error}")
        return ""
    seen = [
        draw_windows(language, "", config.windows, TOKENS, config.seed, s).tokens for s in ("train", "test")
    ]
    rows: list[dict[str, Any]] = []
    run.stage("blocks", len(config.blocks))
    for position, block in enumerate(config.blocks):
        maps = list_block(language.model, block)
        stage, chance = Stage(language.model, maps, *seen), run.generator("chance", block)
        scored = run.once(
            f"block-{block}", lambda s=stage, g=chance: score_block(s, config, g), announce=False
        )
        rows += [{"block": block, **row} for row in scored]
        run.let_signals_in(position + 1)
    table = pd.DataFrame(rows)
    run.table("blocks", table)
    run.view("blocks", kind="table", source="tables/blocks.csv")
    run.figure("blocks", draw_blocks(table), table, caption=BLOCKS_SHOWN)
    return claim_blocks(run, table, config.methods)


def list_block(model: nn.Module, block: int) -> dict[str, nn.Linear]:
    """The dense maps of one block of a Llama by name."""
    named = ((n, m) for n, m in model.named_modules() if f".layers.{block}." in f".{n}")
    maps = {n: m for n, m in named if isinstance(m, nn.Linear)}
    if not maps:
        raise UsageError(f"There is no block {block} of dense maps in this model.", hint="Set blocks=[0].")
    return maps


def claim_blocks(run: Run, table: pd.DataFrame, methods: list[str]) -> str:
    """Medians over blocks of what answers lose at half of the weights, and of the bytes at which they lose as much as wanda's there."""
    half = min(table["sparsity"].unique(), key=lambda level: abs(level - HALF))
    lost: Any = table[table["sparsity"] == half].pivot(index="block", columns="way", values="moved")
    singles = {m: float(lost[m].median()) for m in methods}
    best = min(singles, key=lambda m: singles[m])
    for way in lost.columns:
        is_ours = way == "parts"
        rivals = (
            {**singles, **{w: float(lost[w].median()) for w in ("attribution", LOW_RANK, WHOLE)}}
            if is_ours
            else {}
        )
        run.claim(
            f"block/{way.replace(' ', '_')}",
            interval=seed_interval(lost[way].tolist(), least=0.0),
            null=singles[best] if is_ours else float(lost[NULL].median()),
            null_is=f"the best pruner of single weights: {best}" if is_ours else "as many weights at random",
            unit="nats",
            kind="median",
            better="lower",
            rivals=rivals,
            title=f"What answers lose by half of a block's weights, '{way}'",
        )
    field = FIELD if FIELD in methods else best
    for way in ("parts", best, LOW_RANK):
        needed = []
        for _, rows in table.groupby("block"):
            at_half = rows[(rows["way"] == field) & (rows["sparsity"] == half)]
            needed.append(find_bytes(rows, way, at_half["moved"].item()))
        run.claim(
            f"block_bytes/{way.replace(' ', '_')}",
            interval=seed_interval([100 * n for n in needed], least=0.0, most=100.0),
            null=100 * parts.share_of_bytes(half),
            null_is=f"{field} at half of the weights",
            unit="%",
            kind="median",
            better="lower",
            title=f"Share of a block's bytes at the loss of {field} at half of its weights, '{way}'",
        )
    return (
        f" Of a block of a story model, half of the weights chosen by parts cost {cite('block/parts', style='.3f')} nats, by the best "
        f"pruner of single weights {cite('block/parts', 'null', '.3f')}, and as many bytes of singular parts "
        f"{cite('block/low_rank', style='.3f')}."
    )


def find_bytes(rows: Any, way: str, lost: float) -> float:
    """Share of a block's bytes at which `way` loses so much, between its levels along the logarithm of the loss; at most all."""
    curve = rows[rows["way"] == way].sort_values("moved")
    return float(np.interp(np.log(lost), np.log(curve["moved"].clip(lower=1e-12)), curve["bytes"], left=1.0))


@styled
def draw_blocks(table: pd.DataFrame) -> Any:
    """What answers lose over the share of bytes that is left, a line a way, median over blocks."""
    figure, ax = canvas(width=6.4, height=3.6)
    ends: Any = table.groupby(["way", "bytes"])["moved"].median().unstack("bytes")
    shown = ["parts", *(w for w in ends.index if w not in ("parts", NULL, "lesser part")), NULL]
    looks = product("os", PALETTE[:6])  # gray is the null's, and more than six colors are not told apart
    for way in shown:
        marker, color = ("o", NULL_COLOR) if way == NULL else next(looks)
        ax.plot(
            100 * ends.columns,
            ends.loc[way],
            marker=marker,
            color=color,
            markersize=3.5,
            label=way,
            linewidth=2.2 if way == "parts" else 1.2,
            linestyle="--" if way == NULL else "-",
        )
    ax.set(
        xlabel="bytes that are left of a block (%)", ylabel="loss of its answers (nats of KL)", yscale="log"
    )
    ax.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
