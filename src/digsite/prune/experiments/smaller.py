"""prune-smaller: heads, neurons and layers removed for good: what it costs in prediction, what it buys in time."""

from typing import TYPE_CHECKING

import pandas as pd

from digsite.base.intervals import student
from digsite.prune.config import SmallerConfig
from digsite.prune.core.smaller import Smaller, shrink_model
from digsite.prune.experiments import masks
from digsite.prune.judge.perplexity import evaluate
from digsite.prune.judge.speed import measure_speed
from digsite.prune.subjects.calibration import windows
from digsite.prune.subjects.language import Language
from digsite.prune.subjects.source import calibration_tokens

if TYPE_CHECKING:
    from digsite.worker.run import Run

CHOICES = ("energy", "energy, not refitted", "random")


def smaller(config: SmallerConfig, run: "Run") -> None:
    """Every choice on several calibration sets; the random one is refitted too, so that only the choice differs."""
    dense = run.once("dense", lambda: _loss(config, masks.language(config, run)))
    rows = []
    for draw in range(config.draws):
        run.stage(f"calibration set {draw}", config.draws)
        for choice in CHOICES:
            rows.append(run.once(f"{choice}-{draw}", lambda c=choice, d=draw: _cell(config, run, c, d)))
        run.breathe(draw + 1)
    frame = pd.DataFrame(rows)
    run.table("draws", frame)
    _conclude(run, dense, frame)


def _cell(config: SmallerConfig, run: "Run", choice: str, draw: int) -> dict:
    subject, before = masks.language(config, run), masks.language(config, run).model
    plan = Smaller(
        config.share, config.remove_layers, config.heads, choice.split(",")[0], "not" not in choice, seed=draw
    )
    tokens = calibration_tokens(subject, config, draw)
    shrink_model(subject.model, tokens, plan)
    timed = measure_speed(before, subject.model, tokens[:8], config.turns)
    sizes = [sum(p.numel() for p in model.parameters()) for model in (before, subject.model)]
    return {
        "choice": choice,
        "draw": draw,
        **_loss(config, subject),
        "parameters": sizes[1],
        "share of parameters": sizes[1] / sizes[0],
        "speed-up": timed.ratio,
    }


def _loss(config: SmallerConfig, subject: Language) -> dict:
    given = config.calibration
    held = windows(subject, given.text, config.windows, given.length, config.seed, "test")
    measured = evaluate(subject.model, held.tokens, n_bytes=held.n_bytes)
    return {"nats": measured.nats, "perplexity": measured.perplexity, "context": measured.context}


def _conclude(run: "Run", dense: dict, frame: pd.DataFrame) -> None:
    lines = []
    null = float(frame[frame["choice"] == "random"]["nats"].mean())
    for choice, part in frame.groupby("choice", sort=False):
        mean, low, high = student(part["nats"].tolist(), 0.0)
        lines.append(
            {
                "choice": choice,
                "nats": mean,
                "low": low,
                "high": high,
                "perplexity": part["perplexity"].mean(),
                "share of parameters": part["share of parameters"].mean(),
                "speed-up": part["speed-up"].median(),
            }
        )
        if choice != "random":
            run.claim(
                f"{choice}/nats",
                mean,
                low=low,
                high=high,
                n=len(part),
                null=null,
                unit="nats per token",
                note=f"null: a random quarter, refitted; dense {dense['nats']:.4f}; over calibration sets",
            )
    table = pd.DataFrame(lines)
    run.table("smaller", table)
    run.view("smaller", kind="table", source="tables/smaller.csv")
    kept = float(table["share of parameters"].iloc[0])
    run.claim(
        "share_of_parameters",
        kept,
        null=1.0,
        note="of the dense model's; measured speed-ups are in tables/smaller.csv",
    )
    best = table.iloc[0]
    run.verdict(
        f"With {1 - kept:.0%} of the parameters gone, perplexity at context {dense['context']} is {best['perplexity']:.2f} "
        f"(dense {dense['perplexity']:.2f}, random structure of the same size "
        f"{float(table[table['choice'] == 'random']['perplexity'].iloc[0]):.2f}).",
        on=["energy/nats", "share_of_parameters"],
    )
    run.say(f"measured speed-up of a forward pass, median over turns and sets: {float(best['speed-up']):.2f}")
