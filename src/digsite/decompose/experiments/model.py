"""Decompose any model that a reference names, on data that a reference names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.base.intervals import seed_interval
from digsite.decompose.config import ModelConfig
from digsite.decompose.core.components import compare
from digsite.decompose.core.decomposition import Decomposition, find_spd_run
from digsite.decompose.core.fit import Fit, Problem
from digsite.decompose.core.losses.sparsity import average_residual
from digsite.decompose.core.masks import count_l0, find_alive
from digsite.decompose.core.recipes import make_room, speaks_tokens
from digsite.decompose.core.scene import MASKINGS, Scene
from digsite.decompose.experiments import showing
from digsite.decompose.judge import verdict as report
from digsite.decompose.judge.baselines import make_rivals
from digsite.decompose.judge.metrics import View
from digsite.decompose.judge.score import Row
from digsite.decompose.subjects import inputs
from digsite.models.opening import one_sentence, open_model
from digsite.record.verdict import cite

if TYPE_CHECKING:
    from digsite.worker.run import Run


BESIDE = {"svd": "singular vectors", "random_directions": "random directions"}


def study_model(config: ModelConfig, run: Run) -> None:
    """Any model by reference: decompose, score beside rivals of equal number, claim."""
    opened = open_model(config.model)
    for note in opened.notes:
        run.say(note)
    target = opened.answering("be decomposed").eval()
    sample = inputs.sample_opened(config.data, opened, target, config.decompose.batch)
    batch = sample(run.generator("eval", 0))
    try_once(config, target, batch)
    refuse_distance(config, target, batch)
    members = take_members(config, run) or train_members(config, run, target, sample)
    batch = batch.to(run.device)
    rows = run.once("scores", lambda: [score_output(member, batch) for member in members])
    for key in rows[0]:
        report.claim_score(run, rows, key)
    claim_model_stability(run, members)
    run.table("members", {key: [row[key] for row in rows] for key in rows[0]})
    showing.keep_members(run, members)
    view = View(members[0], lambda i: sample(run.generator("eval", i)).to(run.device), 4)
    showing.keep_views(run, view)
    showing.measure_metrics(run, view, config.metrics)
    showing.draw_figures(run, view, config.figures)
    verdict = tell_model(run, rows, members[0])
    run.headline(["output_kept", *(f"{module}/stability" for module in members[0].modules[:2])])
    run.verdict(verdict)


def take_members(config: ModelConfig, run: Run) -> list[Decomposition]:
    """Where the model is a run of the reference SPD code: what was trained there, to be looked at and scored here."""
    path = find_spd_run(config.model)
    if path is None:
        return []
    member = Decomposition.load(path)
    run.say(
        f"'{path.name}' is a run of the reference code: its parts of {', '.join(member.modules)} are scored, none are trained."
    )
    return [member]


def train_members(
    config: ModelConfig, run: Run, target: nn.Module, sample: inputs.Sampler
) -> list[Decomposition]:
    """A decomposition for each seed, resumable."""
    seeds = [run.derive("member", config.seed + k) % 2**31 for k in range(config.seeds)]
    problem = Problem([target], config.modules, sample, tuple(config.identity), config.output)
    settings = make_room(config.decompose, target, config.modules)
    if settings != config.decompose:
        run.say(
            f"C = {config.decompose.C} is below the rank of a matrix: parts learn, and a residual takes the rest."
        )
    fit = Fit(problem, settings, seeds, device=run.device)
    for step in run.steps(config.decompose.steps, save=fit.read_state, load=fit.load_state):
        terms = fit.step(step)
        if step % config.log_every == 0:
            run.log(step, **{f"loss/{name}": float(values.mean()) for name, values in terms.items()})
    return [fit.make_decomposition(k) for k in range(len(seeds))]


@torch.no_grad()
def try_once(config: ModelConfig, target: nn.Module, batch: Tensor) -> None:
    """The data must be what the model takes: said before the work and in one sentence."""
    with one_sentence(
        f"Running '{config.model}' on {tuple(batch.shape)} of '{config.data}'", "Name data that it takes."
    ):
        target(batch[:1] if isinstance(batch, Tensor) else batch)


def refuse_distance(config: ModelConfig, target: nn.Module, batch: Tensor) -> None:
    """KL compares distributions over tokens; the hidden states of an encoder are none."""
    tokens = isinstance(batch, Tensor) and not batch.is_floating_point() and batch.ndim >= 2
    if (
        config.decompose.compare == "kl"
        and tokens
        and not speaks_tokens(target, batch[:1], config.output, fewest=2)
    ):
        raise UsageError(
            f"The answers of '{config.model}' are no distribution over its tokens, so KL cannot compare them.",
            hint="Compare them by relative squared error: decompose.compare=relative",
        )


@torch.no_grad()
def score_output(decomposition: Decomposition, batch: Tensor) -> Row:
    """How faithful, how sparse, and how well each masking keeps the output."""
    scene = decomposition.scene(batch)
    row: Row = {"faithfulness": float(average_residual(scene.residuals))}
    for module, g in scene.importance.lower.items():
        row[f"{module}/ci_l0"] = count_l0(g)
        row[f"{module}/alive_components"] = float(find_alive(g).sum())
    for masking in MASKINGS:
        drawn = scene.draw_masks(masking, generator=torch.Generator().manual_seed(0))
        row[f"recon_{masking}"] = float(scene.compare_output(scene.forward(drawn)))
    return row | score_output_rivals(decomposition, scene)


def score_output_rivals(decomposition: Decomposition, scene: Scene) -> Row:
    """Distance to the target's output with as many parts of rivals, at every position, as are important here.

    Any network, an untrained one too, keeps most of its output with enough parts of any kind: only the difference to
    these says that parts were found.
    """
    generator = torch.Generator().manual_seed(0)
    kept = scene.draw_masks("rounded")
    everything = {module: mask.new_ones(mask.shape[-1]) for module, mask in kept.parts.items()}
    made = make_rivals(decomposition, scene, kept, everything, generator)
    return {
        f"recon_rival/{name}": float(other.compare_output(other.forward(masks)))
        for name, (other, masks) in made.items()
        if name in BESIDE
    }


def claim_model_stability(run: Run, members: list[Decomposition]) -> None:
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


def tell_model(run: Run, rows: list[Row], decomposition: Decomposition) -> str:
    """What share of the output the important parts keep, in a sentence."""
    zero = report.summarize_score(rows, "recon_zero").value
    over = seed_interval(list_kept_shares(rows, "recon_rounded"), "median", most=1.0)
    beside = {
        words: seed_interval(list_kept_shares(rows, f"recon_rival/{name}"), "median", most=1.0).value
        for name, words in BESIDE.items()
    }
    run.claim(
        "output_kept",
        over.value,
        interval=over,
        rivals=beside,
        kind="share",
        better="higher",
        title="Output kept by the parts that are needed",
        null_is="as many parts of the strongest rival, at every position",
        note=f"of what all parts off destroy ({zero:.3g})",
    )
    used = []
    for module in decomposition.modules:
        total = len(decomposition.components(module).U)
        run.claim(f"{module}/components", total, kind="count", title=f"Parts made, {module}")
        used.append(
            f"{cite(f'{module}/ci_l0', style='.1f')} of {cite(f'{module}/components')} parts in '{module}'"
        )
    others = ", ".join(f"{cite('output_kept', words)} with {words}" for words in beside)
    text = (
        f"An input needs on average {', '.join(used)}. With only these the output keeps {cite('output_kept')} of what "
        f"switching all parts off destroys, beside {others}, as many at every position."
    )
    if over.value is None or over.value > max(value for value in beside.values() if value is not None):
        return text
    return f"{text} So these parts keep no more than directions that know nothing of what the network does."


def list_kept_shares(rows: list[Row], key: str) -> list[float]:
    """For each seed, how much of the output that all parts off destroy is left."""
    return [1 - row[key] / max(row["recon_zero"], 1e-30) for row in rows]
