"""Train to the end, and go back to the last state whose important parts still answered like the target.

Networks with steep steps (compiled ones) can be lost in a few optimizer steps and not come back before training ends. Parts
that are mixed exactly are right at the start, so there is always a state to go back to.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from digsite.decompose.core.fit import Fit
from digsite.decompose.core.scene import observe_batch

CHECKS = 12  # times that a member is looked at in the course of training
LOOKS = 6  # batches that are looked at
# Relative distance that still counts as answering like the target. An answer that is lost on one input in a thousand, or under
# one mask in a thousand, hides in a mean of 1e-3; and where the answer is a number, 1e-4 is off by a hundredth of its spread.
TOLERANCE = 1e-6
OnStep = Callable[[int, dict[str, Tensor]], None]


def train_fit(fit: Fit, on_step: OnStep | None = None) -> None:
    """All steps of a fit, in place; `on_step(step, terms)` is told the loss terms by name.

    Only where outputs are compared relative to their variance and parts are faithful throughout does a distance say by
    itself that an answer is lost: other fits end where they end.
    """
    config = fit.config
    is_guarded = config.compare == "relative" and config.faithful == "exact"
    kept = copy_members(fit) if is_guarded else {}
    every = max(1, config.steps // CHECKS)
    for step in range(config.steps):
        terms = fit.step(step)
        if on_step is not None:
            on_step(step, terms)
        if is_guarded and ((step + 1) % every == 0 or step + 1 == config.steps):
            keep_what_answers(fit, kept, step)
    for k, saved in (kept or {}).items():
        with torch.no_grad():
            for key, value in saved.items():
                fit.params[key][k].copy_(value)


@torch.no_grad()
def keep_what_answers(fit: Fit, kept: dict[int, dict[str, Tensor]], step: int) -> None:
    """Replace what is kept of each member by its present state, where that answers."""
    for k in range(len(fit.seeds)):
        if worst_distance(fit, k, step) <= TOLERANCE:
            kept[k] = {key: value[k].clone() for key, value in fit.params.items()}


def worst_distance(fit: Fit, k: int, step: int) -> float:
    """The larger of two mean distances of member k on a few batches: rounded importances, and random masks."""
    rounded = stochastic = 0.0
    generator = torch.Generator().manual_seed(step)
    for i in range(LOOKS):
        x = fit.draws.draw_member(k, fit.config.steps + LOOKS * step + i)  # batches that training never sees
        scene = observe_batch(fit.plan, fit.read_weights(k), fit.read_member(k), x)
        rounded += float(scene.compare_output(scene.forward(scene.draw_masks("rounded")))) / LOOKS
        drawn = scene.draw_masks("stochastic", generator=generator, residual=False)
        stochastic += float(scene.compare_output(scene.forward(drawn))) / LOOKS
    return max(rounded, stochastic)


def copy_members(fit: Fit) -> dict[int, dict[str, Tensor]]:
    """A copy of every member's parameters: the state that is gone back to."""
    members = range(len(fit.seeds))
    return {k: {key: v[k].detach().clone() for key, v in fit.params.items()} for k in members}
