"""Study: the learning coefficient against the closed form of deep linear networks, and over a training that groks."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import torch

from digsite.data import sequences
from digsite.figures import curves, scatter
from digsite.models import build
from digsite.models.config import parse
from digsite.record.verdict import cite
from digsite.track.config import CoefficientConfig
from digsite.track.core.learning_coefficient import ChainSettings, Coefficient, estimate_coefficient
from digsite.track.judge.linear_coefficient import (
    build_linear_network,
    draw_white_inputs,
    solve_linear_coefficient,
    unit_noise_loss,
)
from digsite.train import Member, train_ensemble
from digsite.worker.run import Run

INPUTS = 64  # white rows: the loss of a linear network depends on their covariance alone


def study_coefficient(config: CoefficientConfig, run: Run) -> None:
    """Estimates beside the closed form, then a curve over training."""
    run.stage("architectures", config.architectures)
    rows = run.once("linear", lambda: [_estimate_linear(config, run, i) for i in range(config.architectures)])
    table = pd.DataFrame(rows)
    run.table("linear", table)
    _claim_linear(run, table)
    course = pd.DataFrame(run.once("training", lambda: _estimate_over_training(config, run)))
    run.table("training", course)
    _claim_training(run, course)
    run.figure(
        "linear",
        scatter(
            {"networks": (table.closed_form, table.value)},
            x="learning coefficient, closed form",
            y="learning coefficient, estimate",
            diagonal=True,
        ),
        data=table,
        caption="Learning coefficients of deep linear networks: estimates against the closed form; on the dashed line both agree.",
    )
    run.figure(
        "training",
        curves(
            {
                "test accuracy": (course.step, course.test_accuracy),
                "train accuracy": (course.step, course.train_accuracy),
                "coefficient / largest": (course.step, course.value / course.value.max()),
            },
            x="training step",
            y="share",
        ),
        data=course,
        caption="A network that adds modulo a prime: the coefficient is high when it has memorized and falls as it generalizes.",
    )
    run.view("linear", "table", "tables/linear.csv")


def _draw_architecture(run: Run, index: int) -> tuple[list[int], int]:
    """Two to four layers of 3 to 12, and a rank that each layer can have."""
    rng = run.rng("architecture", index)
    widths = rng.integers(3, 13, size=int(rng.integers(3, 6))).tolist()
    return widths, int(rng.integers(0, min(widths) + 1))


def _estimate_linear(config: CoefficientConfig, run: Run, index: int) -> dict[str, Any]:
    """One random deep linear network, whose coefficient has a closed form."""
    widths, rank = _draw_architecture(run, index)
    model = build_linear_network(widths, rank, run.derive("weights", index))
    x = draw_white_inputs(INPUTS, widths[0], run.derive("inputs", index))
    with torch.no_grad():
        y = model(x)
    settings = ChainSettings(
        config.temperature,
        1.0,
        config.chains,
        config.samples,
        config.burn,
        seed=run.derive("chains", index) % 2**31,
    )
    coefficient = estimate_coefficient(model, (x, y), loss=unit_noise_loss, settings=settings)
    truth = solve_linear_coefficient(widths, rank)
    run.let_signals_in(index + 1)
    run.log(index + 1, estimate=coefficient.value, closed_form=truth.value)
    name = {
        "widths": "-".join(map(str, widths)),
        "rank": rank,
        "closed_form": truth.value,
        "multiplicity": truth.multiplicity,
    }
    return name | _estimate_numbers(coefficient)


def _estimate_numbers(coefficient: Coefficient) -> dict[str, Any]:
    """As a row."""
    return asdict(coefficient) | {"warnings": "; ".join(coefficient.warnings)}


def _claim_linear(run: Run, table: pd.DataFrame) -> None:
    """Error against the closed form, beside what half the parameters would say."""
    error = (table.value / table.closed_form - 1).abs()
    regular = (table.parameters / 2 / table.closed_form - 1).abs()
    covered = int(((table.low <= table.closed_form) & (table.closed_form <= table.high)).sum())
    n = len(table)
    run.claim(
        "relative_error/median",
        error.median(),
        better="lower",
        title="Median relative error to the closed form",
        low=error.min(),
        high=error.max(),
        n=n,
        null=regular.median(),
        note="interval: least and largest",
        null_is="half the number of parameters",
    )
    run.claim(
        "relative_error/largest",
        error.max(),
        n=n,
        better="lower",
        title="Largest relative error to the closed form",
        null=regular.max(),
        null_is="half the number of parameters",
    )
    run.claim_share(
        "covered",
        covered,
        n,
        null=0.95,
        null_is="the interval's level",
        better="higher",
        title="Architectures whose interval covers the closed form",
    )
    run.claim("diverged_chains", int(table.diverged.sum()), n=n)
    run.headline(["relative_error/largest", "covered"], hero="linear")
    run.verdict(
        f"The coefficient is within {cite('relative_error/largest', style='.1%')} of the closed form of deep linear networks "
        f"(median {cite('relative_error/median', style='.1%')}, half the number of parameters "
        f"{cite('relative_error/median', 'null', '.0%')}); the interval covers it in {cite('covered', 'hits')} of "
        f"{cite('covered', 'n')}.",
        on=["relative_error/*", "covered"],
    )


def _estimate_over_training(config: CoefficientConfig, run: Run) -> list[dict[str, Any]]:
    """One network that learns addition modulo a prime, at checkpoints, each sampled on its training pairs."""
    x, y = sequences.modular_addition(config.modulus)
    train, test = sequences.split_indices(len(x), 0.7, run.generator("split"))
    shape = {
        "modulus": config.modulus,
        "d_embed": config.width // 2,
        "d_hidden": config.width,
        "d_out": config.width,
    }
    member = Member(
        seed=run.derive("network") % 2**31,
        batch=len(train),
        steps=config.steps,
        lr=0.01,
        weight_decay=1.0,
        optimizer="adamw",
    )
    at = np.linspace(0, config.steps, config.checkpoints).astype(int).tolist()
    done = train_ensemble(
        build(parse({"kind": "modular_mlp", **shape})), (x[train], y[train]), [member], checkpoints=at
    )
    rows = []
    for k, step in enumerate(done.steps):
        model = done.ensemble.module(0)
        model.load_state_dict({n: v[0] for n, v in done.ensemble.layout.views(done.snapshots[k]).items()})
        with torch.no_grad():
            hits = (model(x).argmax(-1) == y).double()
        coefficient = estimate_coefficient(
            model,
            (x[train], y[train]),
            batch=128,
            localization=100.0,
            chains=config.chains // 2,
            steps=config.samples // 4,
            burn=config.burn // 4,
            seed=run.derive("walk", k) % 2**31,
        )
        rows.append(
            {
                "step": step,
                "train_accuracy": float(hits[train].mean()),
                "test_accuracy": float(hits[test].mean()),
            }
            | _estimate_numbers(coefficient)
        )
        run.log(step, coefficient=coefficient.value, test_accuracy=rows[-1]["test_accuracy"])
    return rows


def _claim_training(run: Run, course: pd.DataFrame) -> None:
    """First and last coefficient once all training data are right."""
    usable = course[course.train_accuracy > 0.99]
    if len(usable) < 2:
        return run.say("The network has not memorized: there is no course of the coefficient to judge.")
    first, last = usable.iloc[0], usable.iloc[-1]
    run.claim(
        "memorized",
        first.value,
        low=first.low,
        high=first.high,
        n=1,
        null=first.parameters / 2,
        note=f"step {first.step}",
        null_is="half the parameters",
    )
    run.claim(
        "generalized",
        last.value,
        low=last.low,
        high=last.high,
        n=1,
        null=first.value,
        note=f"step {last.step}",
        null_is="when memorized",
    )
