"""Decompose any model that a reference names, on data that a reference names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from digsite.base.intervals import seed_interval
from digsite.decompose.config import ModelConfig
from digsite.decompose.core.compare import compare
from digsite.decompose.core.decomposition import MASKINGS, Decomposition
from digsite.decompose.core.fit import Fit, Problem
from digsite.decompose.core.gating import USED
from digsite.decompose.core.losses.faithfulness import residual_mean
from digsite.decompose.experiments import showing
from digsite.decompose.judge import verdict as report
from digsite.decompose.judge.score import Row
from digsite.decompose.judge.views import View
from digsite.decompose.subjects import inputs
from digsite.models.opening import one_sentence, open_model
from digsite.record.verdict import cite

if TYPE_CHECKING:
    from digsite.worker.run import Run


def model(config: ModelConfig, run: Run) -> None:
    opened = open_model(config.model)
    for note in opened.notes:
        run.say(note)
    target = opened.answering("be decomposed").eval()
    sample = inputs.opened_sampler(config.data, opened, target, config.decompose.batch)
    _try_once(config, target, sample(run.generator("eval", 0)))
    seeds = [run.derive("member", config.seed + k) % 2**31 for k in range(config.seeds)]
    problem = Problem([target], config.modules, sample, tuple(config.identity), config.output)
    fit = Fit(problem, config.decompose, seeds, device=run.device)
    for step in run.steps(config.decompose.steps, save=fit.state, load=fit.load):
        terms = fit.step(step)
        if step % config.log_every == 0:
            run.log(step, **{f"loss/{name}": float(values.mean()) for name, values in terms.items()})
    members = [fit.decomposition(k) for k in range(len(seeds))]
    batch = sample(run.generator("eval", 0)).to(run.device)
    rows = run.once("scores", lambda: [score(found, batch) for found in members])
    for key in rows[0]:
        report.claim_score(run, rows, key)
    _stability(run, members)
    run.table("members", {key: [row[key] for row in rows] for key in rows[0]})
    showing.keep(run, members)
    view = View(members[0], lambda i: sample(run.generator("eval", i)).to(run.device), 4)
    showing.views(run, view)
    showing.measure(run, view, config.metrics)
    showing.draw(run, view, config.figures)
    verdict = _verdict(run, rows, members[0])
    run.headline(["output_kept", *(f"{module}/stability" for module in members[0].modules[:2])])
    run.verdict(verdict)


@torch.no_grad()
def _try_once(config: ModelConfig, target: nn.Module, batch: Tensor) -> None:
    """The data must be what the model takes: said before the work and in one sentence."""
    with one_sentence(
        f"Running '{config.model}' on {tuple(batch.shape)} of '{config.data}'", "Name data that it takes."
    ):
        target(batch[:1] if isinstance(batch, Tensor) else batch)


@torch.no_grad()
def score(found: Decomposition, batch: Tensor) -> Row:
    """How faithful, how sparse, and how well each masking keeps the output."""
    scene = found.scene(batch)
    row: Row = {"faithfulness": float(residual_mean(scene.residuals))}
    for module, g in scene.importance.lower.items():
        row[f"{module}/ci_l0"] = float((g > USED).sum(-1).float().mean())
        row[f"{module}/alive_components"] = float((g > USED).flatten(0, -2).any(0).sum())
    for masking in MASKINGS:
        drawn = found.draw(scene, masking, generator=torch.Generator().manual_seed(0))
        row[f"recon_{masking}"] = float(scene.distance(scene.forward(drawn)))
    return row


def _stability(run: Run, members: list[Decomposition]) -> None:
    """Do two seeds find the same components? Beside random directions."""
    if len(members) < 2:
        return
    for module, match in compare(members[0], members[1]).items():
        run.claim(
            f"{module}/stability",
            match.stability,
            null=match.chance,
            title=f"Cosine of the parts of two seeds, matched, {module}",
            better="higher",
            null_is="random directions",
        )


def _verdict(run: Run, rows: list[Row], found: Decomposition) -> str:
    zero = report.summarize(rows, "recon_zero").value
    kept = [1 - row["recon_ci"] / max(row["recon_zero"], 1e-30) for row in rows]
    over = seed_interval(kept, "median", most=1.0)
    run.claim(
        "output_kept",
        over.value,
        interval=over,
        kind="share",
        better="higher",
        title="Output kept by the parts that are needed",
        note=f"of what all parts off destroy ({zero:.3g})",
    )
    used = []
    for module in found.modules:
        total = len(found.components(module).U)
        run.claim(f"{module}/components", total, kind="count", title=f"Parts made, {module}")
        used.append(
            f"{cite(f'{module}/ci_l0', style='.1f')} of {cite(f'{module}/components')} parts in '{module}'"
        )
    return (
        f"An input needs on average {', '.join(used)}. "
        f"With only these the output keeps {cite('output_kept')} of what switching all parts off destroys."
    )
