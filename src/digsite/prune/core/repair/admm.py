"""Surrogate-free ADMM: weights and mask together, on the model's own loss (after ELSA, arXiv 2510.01650).

Layer-wise pruning replaces the loss by a sum of squared output errors, which at 70 % and more is a bad guide. Here dense
weights x take gradient steps on KL(dense || x) plus a pull towards the sparse point z that is nearest to x + u, where u
adds up how far x was off; the pull grows, x becomes sparse by itself, and the mask is whatever is left standing. The
nearest sparse point is measured with Adam's second moments, so a weight that the loss is sensitive to counts for more.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from digsite.prune.core.gradient_steps import Stepper, shuffled_batches
from digsite.prune.core.layers import all_maps
from digsite.prune.core.patterns import prune_groups
from digsite.prune.core.repair import RepairSettings, Subject
from digsite.prune.core.repair.masked_distillation import divergence_of
from digsite.prune.core.repair.masked_distillation import repair_model as distill

LEVEL = "model"
SETTLING = 0.3  # share of the steps that go to the final mask, held fixed


def repair_model(
    model: nn.Module, dense: nn.Module, tokens: Tensor, subjects: Sequence[Subject], settings: RepairSettings
) -> dict[str, Bool[Tensor, "out in"]]:
    """New masks of the same counts (and patterns), and the weights that go with them, in place.

    The search starts from the dense weights; the given masks only say how many weights every map keeps.
    """
    originals = {one.name: one.weight for one in all_maps(dense)}
    for subject in subjects:
        subject.one.replace(originals[subject.one.name])
    batches = shuffled_batches(len(tokens), settings)
    n_free = round((1 - SETTLING) * len(batches))
    stepper = Stepper(subjects, settings, len(batches), free=True)
    state = _Split(stepper, subjects, settings)
    for step, rows in enumerate(batches[:n_free]):
        state.strength = settings.penalty * ((step + 1) / n_free) ** 2
        stepper.step(divergence_of(model, dense, tokens[rows], settings))
        state.pull()
        if (step + 1) % settings.every == 0:
            state.project()
    state.project()
    stepper.finish()
    found = [replace(s, keep=keep) for s, keep in zip(subjects, state.masks(), strict=True)]
    with torch.no_grad():
        for subject in found:
            subject.one.replace(subject.one.weight.masked_fill(~subject.keep, 0))
    rest = max(1, round(SETTLING * settings.epochs))
    return distill(model, dense, tokens, found, replace(settings, epochs=rest))


class _Split:
    """The sparse copy z and the running difference u of every weight, in the layout of its module."""

    def __init__(self, stepper: Stepper, subjects: Sequence[Subject], settings: RepairSettings) -> None:
        self.stepper, self.subjects, self.strength = stepper, subjects, 0.0
        self.duals = [torch.zeros_like(p) for p in stepper.parameters]
        self.sparse = [p.detach().clone() for p in stepper.parameters]
        self.project()

    @torch.no_grad()
    def pull(self) -> None:
        """Move every weight towards z - u, apart from the gradient, whose size Adam normalizes away."""
        for p, z, u in zip(self.stepper.parameters, self.sparse, self.duals, strict=True):
            p.sub_(self.strength * (p - z + u))

    @torch.no_grad()
    def project(self) -> None:
        """z becomes the sparse point nearest to x + u; u takes up what is left."""
        for i, (p, subject) in enumerate(zip(self.stepper.parameters, self.subjects, strict=True)):
            point = p + self.duals[i]
            keep = nearest_support(point, self._sensitivity(p), subject)
            self.sparse[i] = point * keep
            self.duals[i] = point - self.sparse[i]

    def _sensitivity(self, parameter: Tensor) -> Tensor:
        """Root of Adam's second moment, or 1 before the first step."""
        state = self.stepper.solver.state.get(parameter, {})
        moments = state.get("exp_avg_sq")
        if moments is None:
            return torch.ones_like(parameter)
        return moments.sqrt() + 1e-3 * moments.mean().sqrt() + 1e-12

    def masks(self) -> list[Bool[Tensor, "out in"]]:
        """What stands in z, as (out, in)."""
        return [
            (z != 0).t() if subject.one.transposed else z != 0
            for z, subject in zip(self.sparse, self.subjects, strict=True)
        ]


def nearest_support(
    point: Float[Tensor, "rows columns"], sensitivity: Float[Tensor, "rows columns"], subject: Subject
) -> Float[Tensor, "rows columns"]:
    """1 where the nearest point with as many weights as the subject's mask is not zero, in the stored layout."""
    scores = point.square() * sensitivity
    if subject.pattern.structured:
        oriented = scores.t().contiguous() if subject.one.transposed else scores
        keep = ~prune_groups(oriented, subject.pattern)
        return (keep.t() if subject.one.transposed else keep).to(point.dtype)
    n_kept = int(subject.keep.sum())
    kept = torch.zeros_like(point).flatten()
    kept[scores.flatten().topk(n_kept).indices] = 1
    return kept.view_as(point)
