"""mask-truth: pruners on programs hidden among weights that cannot matter, scored by what they keep."""

from typing import TYPE_CHECKING

import pandas as pd
import torch

from digsite.base.intervals import seed_interval
from digsite.figures import bars
from digsite.prune.config import MaskTruthConfig
from digsite.prune.core.model import prune_model
from digsite.prune.core.repair import RepairSettings
from digsite.prune.experiments.quality import recipe_named
from digsite.prune.judge.comparison import random_mask, right_counts, score_mask, share_answered
from digsite.prune.subjects.compiled import HiddenProgram, hide_program
from digsite.record.verdict import cite

if TYPE_CHECKING:
    from digsite.worker.run import Run

NULL = "chance"
WORDS = {
    "precision": "Kept weights that are needed",
    "recall": "Needed weights that are kept",
    "answered": "Positions that the pruned program still answers rightly",
}


def study_mask_truth(config: MaskTruthConfig, run: "Run") -> None:
    """Every method keeps the right number of weights in every map (and `slack` times as many): are they the right ones?"""
    rows = []
    for position, program in enumerate(config.programs):
        run.stage(program, len(config.programs))
        rows += run.once(program, lambda p=program: _score_program(config, run, p))
        run.let_signals_in(position + 1)
    frame = pd.DataFrame(rows)
    run.table("masks", frame)
    _conclude_truth(run, frame)


def _score_program(config: MaskTruthConfig, run: "Run", program: str) -> list[dict]:
    """Every method at every slack, on the same dense weights."""
    rows = []
    hidden = hide_program(program, config.factor, config.seed, config.inputs)
    dense = {name: p.detach().clone() for name, p in hidden.model.named_parameters()}
    for slack in config.slacks:
        counts = right_counts(hidden.needed, slack)
        for method in config.methods:
            hidden.model.load_state_dict(dense)
            keep = _prune_hidden(config, method, hidden, counts)
            rows.append(_truth_line(program, method, slack, hidden, keep, _percent_answered(hidden)))
        for draw in range(config.draws):
            hidden.model.load_state_dict(dense)
            keep = random_mask(hidden.needed, hidden.idle, counts, run.generator(f"chance-{program}", draw))
            _mask_hidden(hidden, keep)
            rows.append(_truth_line(program, NULL, slack, hidden, keep, _percent_answered(hidden)))
    return rows


def _prune_hidden(
    config: MaskTruthConfig, method: str, hidden: HiddenProgram, counts: dict[str, int]
) -> dict[str, torch.Tensor]:
    """Every map gives up exactly what its truth says is not needed, times the slack."""
    recipe = recipe_named(
        method, "50%", config.swaps, RepairSettings(epochs=config.epochs, rows=16, learning_rate=1e-2)
    )
    ledger = prune_model(hidden.model, hidden.inputs, recipe, counts=counts)
    return {line.name: line.keep for line in ledger}


def _mask_hidden(hidden: HiddenProgram, keep: dict[str, torch.Tensor]) -> None:
    """In place."""
    with torch.no_grad():
        for name, mask in keep.items():
            hidden.model.get_submodule(name).weight.mul_(mask)  # pyright: ignore[reportCallIssue]


def _percent_answered(hidden: HiddenProgram) -> float:
    """Over all inputs of the program."""
    with torch.no_grad():
        return 100 * share_answered(hidden.model(hidden.inputs), hidden.wanted)


def _truth_line(
    program: str, method: str, slack: float, hidden: HiddenProgram, keep: dict, answered: float
) -> dict:
    """Precision and recall against what the program needs."""
    score = score_mask(keep, hidden.needed, hidden.idle)
    return {
        "program": program,
        "method": method,
        "slack": slack,
        "precision": 100 * score.precision,
        "recall": 100 * score.recall,
        "kept": score.kept,
        "answered": answered,
    }


def _conclude_truth(run: "Run", frame: pd.DataFrame) -> None:
    """Intervals over programs; the null keeps as many weights at random among those that are not zero."""
    lines = []
    for slack, part in frame.groupby("slack", sort=False):
        null = (
            part[part["method"] == NULL]
            .groupby("program")[["precision", "recall", "answered"]]
            .mean()
            .median()
        )
        for method, group in part.groupby("method", sort=False):
            per_program = group.groupby("program")[["precision", "recall", "answered"]].mean()
            line: dict = {"slack": slack, "method": method}
            for column in per_program:  # pyright: ignore[reportGeneralTypeIssues]
                over = seed_interval(per_program[column].tolist(), "median", least=0.0, most=100.0)  # pyright: ignore[reportIndexIssue]
                line |= {column: over.value, f"{column} low": over.low, f"{column} high": over.high}
                if method != NULL:
                    title = f"{WORDS[column]}, '{method}', {slack:g} times the right number"
                    run.claim(
                        f"{slack:g}x/{method}/{column}",
                        interval=over,
                        null=float(null[column]),  # pyright: ignore[reportArgumentType]
                        null_is="as many weights at random",
                        unit="%",
                        kind="median",
                        better="higher",
                        title=title,
                        note="over programs",
                    )
            lines.append(line)
    table = pd.DataFrame(lines)
    run.table("summary", table)
    run.view("summary", kind="table", source="tables/summary.csv")
    _answer_truth(run, table)


def _answer_truth(run: "Run", table: pd.DataFrame) -> None:
    """The best and the worst method at the exact size, beside a random choice."""
    first = table[table["slack"] == table["slack"].iloc[0]].set_index("method")
    rivals = first.drop(index=NULL)
    best, worst = str(rivals["recall"].idxmax()), str(rivals["recall"].idxmin())
    recall, answered = (f"{table['slack'].iloc[0]:g}x/{best}/{score}" for score in ("recall", "answered"))
    last = f"{table['slack'].iloc[0]:g}x/{worst}/recall"
    run.figure(
        "recall",
        bars(first["recall"].to_dict(), y="needed weights that are kept (%)", gray=[NULL]),
        table,
        caption="Of the weights that matter, how many each method keeps; gray: as many at random.",
    )
    run.headline([recall, answered], hero="recall")
    run.verdict(
        f"Given the right number of weights in every map, '{best}' keeps {cite(recall, style='.0f')} % of those that matter, "
        f"'{worst}' {cite(last, style='.0f')} %, and a random choice {cite(recall, 'null', '.0f')} %; the pruned program still "
        f"answers in {cite(answered, style='.0f')} % of positions (random choice {cite(answered, 'null', '.0f')} %).",
        on=[f"*/{best}/recall", f"*/{best}/answered"],
    )
