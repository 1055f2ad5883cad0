"""Parts kept instead of weights, on programs whose needed weights are known, beside pruners of one weight at a time."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

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
    for place, program in enumerate(config.programs):
        rows += run.once(program, lambda p=program: score_program(config, run, p), announce=False)
        run.let_signals_in(place + 1)
    table = pd.DataFrame(rows)
    run.table("masks", table)
    claim_parts(run, table, config.methods)
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
        f"positions, with the best of them in {cite('parts/answered', 'null', '.0f')} %.",
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
        keep = {one.name: one.keep for one in pruned}
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
        for place, method in enumerate(order):
            values = per.loc[method, key].dropna()
            color = NULL_COLOR if method == NULL else PALETTE[1] if method == "parts" else PALETTE[0]
            ax.plot(values, [place] * len(values), "o", color=color, markersize=4, alpha=0.6)
            if len(values):
                ax.plot([values.median()] * 2, [place - 0.35, place + 0.35], color="black", linewidth=1.4)
        ax.set(xlabel=label, xlim=(-4, 104))
    axes[0].set_yticks(range(len(order)), order)
    axes[0].invert_yaxis()
    return figure
