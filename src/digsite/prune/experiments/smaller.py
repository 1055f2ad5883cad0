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
        run.let_signals_in(draw + 1)
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
                "speed-up": part["speed-up"].median(),
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
    _answer(run, dense, table)


def _answer(run: "Run", dense: dict, table: pd.DataFrame) -> None:
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
    run.say(
        f"measured speed-up of a forward pass, median over turns and sets: {float(table['speed-up'].iloc[0]):.2f}"
    )
