"""Induction heads: a model that continues repeating strings, decomposed; do its two heads survive in the parts?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from digsite.base.errors import DigsiteError
from digsite.decompose.config import HeadsConfig
from digsite.decompose.core.decomposition import Decomposition
from digsite.decompose.experiments import tokens as run_tokens
from digsite.decompose.judge.answers import judge_logits
from digsite.decompose.subjects import tasks
from digsite.decompose.subjects.tasks import Task, sample_rows
from digsite.models import empty
from digsite.record.verdict import cite

if TYPE_CHECKING:
    from digsite.worker.run import Run

KEYS = {"previous": "the token before", "induction": "tokens that followed the cue"}
LEARNED = 0.9  # accuracy below which a target is no target


def study_heads(config: HeadsConfig, run: Run) -> None:
    """A two-layer attention model that copies; are its previous-token and induction heads still there in the
    important parts?
    """
    task = prepare_copying(config, run)
    members = run_tokens.decompose_task(config, task, run)
    scored = run_tokens.conclude_tokens(config, task, run, members)
    attention = run.once("attention", lambda: measure_heads(config, task, run, members[0]))
    for key in ("previous", "induction"):
        for kind, note in (("target", "in the target"), ("rounded", "with the important components alone")):
            run.claim(
                f"{key}_attention/{kind}",
                attention[kind][key],
                null=attention["chance"][key],
                title=f"Attention of the best head to {KEYS[key]}, {note}",
                kind="share",
                better="higher",
                null_is="attention evenly spread",
            )
    run.verdict(
        f"{run_tokens.tell_tokens(scored)} Repeated tokens are continued rightly in {cite('accuracy/rounded', style='.1%')} of "
        f"cases by these parts and in {cite('accuracy/target', style='.1%')} by the target; attention to the tokens that "
        f"followed the cue is {cite('induction_attention/rounded', style='.2f')} beside "
        f"{cite('induction_attention/target', style='.2f')}."
    )


def prepare_copying(config: HeadsConfig, run: Run) -> Task:
    """The trained copier and its strings."""
    t = config.target
    stored = tasks.draw_strings(config.rows, t.context, t.vocab, run.generator("strings"))
    state = run.once(
        "target",
        lambda: tasks.train_target(t, (stored, stored), config.training, run.derive("target") % 2**31),
    )
    model = empty(t)
    model.load_state_dict(state)
    batch = config.decompose.batch
    fresh = tasks.draw_strings(4000, t.context, t.vocab, run.generator("held out"))
    task = Task(model.eval(), sample_rows(stored, batch), sample_rows(fresh, batch), tasks.label_repeats)
    check_copying(task, fresh, config)
    return task


@torch.no_grad()
def check_copying(task: Task, tokens: Tensor, config: HeadsConfig) -> None:
    """A model that has not learned to copy has no heads to find."""
    logits = task.model(tokens)
    accuracy = judge_logits(logits, logits, task.labels(tokens)).accuracy
    if accuracy < LEARNED and config.demand:
        raise DigsiteError(
            f"The target continues only {accuracy:.1%} of repeated tokens rightly: it has not learned to copy.",
            hint="Train longer (training.steps), or accept it as it is with demand=false.",
        )


@torch.no_grad()
def measure_heads(
    config: HeadsConfig, task: Task, run: Run, decomposition: Decomposition
) -> dict[str, dict[str, float]]:
    """How much of each head's attention goes where its kind should look, in the target and under masks."""
    tokens = run_tokens.draw_held_out(config, task, run)[0]
    scene = decomposition.scene(tokens)
    masks = scene.draw_masks("rounded", config.threshold)
    seen = {}
    for kind, plan in (("target", None), ("rounded", masks)):
        with tasks.watch_attention(decomposition.model) as patterns:
            decomposition.model(tokens) if plan is None else scene.forward(plan)
        seen[kind] = tasks.measure_attention(tokens, patterns)
    return {**seen, "chance": tasks.spread_attention(tokens)}
