"""prune-smaller: heads, neurons and layers removed for good: what it costs in prediction, what it buys in time."""

from typing import TYPE_CHECKING

import pandas as pd

from digsite.base.intervals import seed_interval
from digsite.figures import bars
from digsite.prune.config import SmallerConfig
from digsite.prune.core.smaller import Smaller, shrink_model
from digsite.prune.experiments import masks
from digsite.prune.judge.perplexity import evaluate
from digsite.prune.judge.speed import measure_speed
from digsite.prune.subjects.calibration import windows
from digsite.prune.subjects.language import Language
from digsite.prune.subjects.source import calibration_tokens
from digsite.record.verdict import cite

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
    parts = {str(choice): part for choice, part in frame.groupby("choice", sort=False)}
    over = {choice: seed_interval(part["nats"].tolist(), "median") for choice, part in parts.items()}
    table = pd.DataFrame(
        {
            "choice": choice,
            "nats": over[choice].value,
            "low": over[choice].low,
            "high": over[choice].high,
            "perplexity": part["perplexity"].median(),
            "share of parameters": part["share of parameters"].mean(),
            "speed-up": part["speed-up"].median(),
        }
        for choice, part in parts.items()
    )
    run.table("smaller", table)
    run.view("smaller", kind="table", source="tables/smaller.csv")
    for choice in CHOICES[:2]:
        rivals = {"a random choice, refitted": over["random"].value}
        title, note = (
            f"Loss after removing structure by {choice}",
            f"dense {dense['nats']:.4f}; over calibration sets",
        )
        about = {"unit": "nats", "better": "lower", "title": title, "note": note}
        run.claim(f"{choice}/nats", interval=over[choice], kind="median", rivals=rivals, **about)
    _claim_size(run, dense, table)
    run.figure(
        "nats",
        bars(dict(zip(table["choice"], table["nats"], strict=True)), y="nats per token", gray=["random"]),
        table,
        caption="Loss after removing as much structure in each way; gray: at random, refitted.",
    )
    run.headline(["energy/nats", "perplexity", "share_removed"], hero="nats")
    run.verdict(
        f"With {cite('share_removed', style='.0%')} of the parameters gone, perplexity is {cite('perplexity', style='.2f')} "
        f"(dense {cite('perplexity', 'the dense model', '.2f')}, random structure of the same size "
        f"{cite('perplexity', 'a random choice, refitted', '.2f')}).",
        on=["energy/nats"],
    )
    speed = float(table["speed-up"].iloc[0])
    run.say(f"measured speed-up of a forward pass, median over turns and sets: {speed:.2f}")


def _claim_size(run: "Run", dense: dict, table: pd.DataFrame) -> None:
    """What is gone, and the perplexity beside the dense model's and that of a random choice."""
    by_choice = table.set_index("choice")
    removed = 1 - float(by_choice.loc[CHOICES[0], "share of parameters"])
    note = "measured speed-ups are in tables/smaller.csv"
    run.claim("share_removed", removed, kind="share", title="Parameters that are gone", note=note)
    perplexity = {choice: float(value) for choice, value in by_choice["perplexity"].items()}
    rivals = {"a random choice, refitted": perplexity["random"], "the dense model": dense["perplexity"]}
    title = f"Perplexity at context {dense['context']} with the quarter of least energy gone"
    run.claim("perplexity", perplexity[CHOICES[0]], kind="median", rivals=rivals, title=title)
