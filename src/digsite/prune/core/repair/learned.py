"""Repairs that learn by gradient steps: a block, the whole model with its mask fixed, or weights and mask together."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.base.streams import derive_seed
from digsite.prune.core.layers import all_maps
from digsite.prune.core.patterns import SparsityPattern, prune_groups
from digsite.prune.core.repair import Masks, PrunedSubject, Repair, RepairSettings, Weights
from digsite.prune.core.repair.sub_block import token_weights
from digsite.prune.core.two_streams import Passage, in_precision

WARM_UP = 0.1  # share of the steps
SETTLING = 0.3  # ADMM: share of the steps that go to the final mask, held fixed


def shuffled_batches(n: int, settings: RepairSettings) -> list[list[int]]:
    """Rows of every gradient step: each epoch sees each row once, in an order that the seed names."""
    batches = []
    for epoch in range(settings.epochs):
        draw = torch.Generator().manual_seed(derive_seed(settings.seed, "prune/repair", epoch))
        order = torch.randperm(n, generator=draw).tolist()
        batches += [order[s : s + settings.rows] for s in range(0, n, settings.rows)]
    return batches


class Stepper:
    """Takes gradient steps on the weights of `subjects` and keeps what is pruned at zero, unless masks are free."""

    def __init__(
        self, subjects: Sequence[PrunedSubject], settings: RepairSettings, n_steps: int, *, free: bool = False
    ) -> None:
        self.parameters: list[Tensor] = [
            subject.linear.module.weight
            for subject in subjects  # pyright: ignore[reportAssignmentType]
        ]
        self.masks = (
            None
            if free
            else [subject.stored_keep.to(p.dtype) for subject, p in zip(subjects, self.parameters)]
        )
        self._needed = [p.requires_grad for p in self.parameters]
        for parameter in self.parameters:
            parameter.requires_grad_(True)
        # Not by the trainer: parts of a model learn by a loss of its inside, and masked weights are held after every step.
        self.solver = torch.optim.Adam(self.parameters, settings.learning_rate, betas=(0.9, 0.95))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.solver, lambda step: rate_at(step, n_steps))
        self.precision = settings.precision

    def step(self, loss: Callable[[], Tensor]) -> float:
        """One step down `loss`; its value before the step."""
        with torch.enable_grad():
            value = in_precision(loss, self.precision)()
        gradients = torch.autograd.grad(value, self.parameters)
        for i, (parameter, gradient) in enumerate(zip(self.parameters, gradients, strict=True)):
            parameter.grad = gradient if self.masks is None else gradient * self.masks[i]
        self.solver.step()
        self.schedule.step()
        self._mask()
        return float(value.detach())

    @torch.no_grad()
    def _mask(self) -> None:
        """After every step: Adam moves weights whose gradient is zero too, by what it remembers."""
        if self.masks is not None:
            for parameter, mask in zip(self.parameters, self.masks, strict=True):
                parameter.mul_(mask)

    def finish(self) -> None:
        """Leave the parameters as they were found: without gradients, and asking for them only if they did."""
        self._mask()
        for parameter, needed in zip(self.parameters, self._needed, strict=True):
            parameter.grad = None
            parameter.requires_grad_(needed)


def rate_at(step: int, n_steps: int) -> float:
    """Share of the peak learning rate: a linear warm-up, then a cosine to a tenth."""
    warm = max(1, round(WARM_UP * n_steps))
    if step < warm:
        return (step + 1) / warm
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warm) / max(1, n_steps - warm)))


class Block(Repair):
    """A block as a whole: gradient steps on all its kept weights towards the dense block's output.

    What least squares cannot see, the softmax and the gate between the maps, is seen here. The stream is compared token
    by token in units of the token's own size, as the next block's norm will.
    """

    LEVEL = "block"

    def repair_block(self, passage: Passage, dense: Weights, keeps: Masks, settings: RepairSettings) -> None:
        """Train the kept weights of the block in place, on its inputs behind the pruned blocks."""
        subjects = [
            PrunedSubject(linear, keeps[linear.name], SparsityPattern(0.5))
            for linear in passage.block.maps
            if linear.name in keeps
        ]
        weights = token_weights(passage)
        batches = shuffled_batches(passage.n, settings)
        stepper = Stepper(subjects, settings, len(batches))
        for rows in batches:
            weight = weights[0][rows] if passage.block.whole else torch.cat([weights[row] for row in rows])

            def loss(rows: list[int] = rows, weight: torch.Tensor = weight) -> torch.Tensor:
                off = (
                    (passage.output(rows).float() - passage.dense_output(rows).float())
                    .square()
                    .mean(-1, keepdim=True)
                )
                return (off * weight).mean()

            stepper.step(loss)
        stepper.finish()


class MaskedDistillation(Repair):
    """The whole model at once, its mask fixed: kept weights learn to say what the dense model says.

    The target is the dense model's own distribution over next tokens, not the text, so nothing can be gained by learning
    the calibration text: repairing a model that was not pruned changes nothing.
    """

    LEVEL = "model"

    def repair_model(
        self,
        model: nn.Module,
        dense: nn.Module,
        tokens: Tensor,
        subjects: Sequence[PrunedSubject],
        settings: RepairSettings,
    ) -> dict[str, Bool[Tensor, "out in"]]:
        """Train the kept weights in place; the masks come back as they were."""
        batches = shuffled_batches(len(tokens), settings)
        stepper = Stepper(subjects, settings, len(batches))
        for rows in batches:
            stepper.step(divergence_of(model, dense, tokens[rows], settings))
        stepper.finish()
        return {subject.linear.name: subject.keep for subject in subjects}


def divergence_of(
    model: nn.Module, dense: nn.Module, rows: Tensor, settings: RepairSettings
) -> Callable[[], Float[Tensor, ""]]:
    """The loss of one batch: KL(dense || pruned) per token, the dense side computed once and without gradients."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bfloat16"):
        wanted = F.log_softmax(_logits_of_rows(dense, rows).float(), -1)

    def loss() -> Float[Tensor, ""]:
        said = F.log_softmax(_logits_of_rows(model, rows).float(), -1)
        return F.kl_div(said.flatten(0, -2), wanted.flatten(0, -2), log_target=True, reduction="batchmean")

    return loss


def _logits_of_rows(model: nn.Module, rows: Tensor) -> Tensor:
    """Logits (rows, positions, vocabulary) of a model of ours or of transformers'."""
    output = model(rows)
    return output if isinstance(output, Tensor) else output.logits


class Admm(Repair):
    """Surrogate-free ADMM: weights and mask together, on the model's own loss (after ELSA, arXiv 2510.01650).

    Layer-wise pruning replaces the loss by a sum of squared output errors, which at 70 % and more is a bad guide. Here
    dense weights x take gradient steps on KL(dense || x) plus a pull towards the sparse point z that is nearest to x + u,
    where u adds up how far x was off; the pull grows, x becomes sparse by itself, and the mask is whatever is left
    standing. The nearest sparse point is measured with Adam's second moments, so a weight that the loss is sensitive to
    counts for more.
    """

    LEVEL = "model"

    def repair_model(
        self,
        model: nn.Module,
        dense: nn.Module,
        tokens: Tensor,
        subjects: Sequence[PrunedSubject],
        settings: RepairSettings,
    ) -> dict[str, Bool[Tensor, "out in"]]:
        """New masks of the same counts (and patterns), and the weights that go with them, in place.

        The search starts from the dense weights; the given masks only say how many weights every map keeps.
        """
        originals = {linear.name: linear.weight for linear in all_maps(dense)}
        for subject in subjects:
            subject.linear.replace(originals[subject.linear.name])
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
        keeps = [replace(s, keep=keep) for s, keep in zip(subjects, state.masks(), strict=True)]
        with torch.no_grad():
            for subject in keeps:
                subject.linear.replace(subject.linear.weight.masked_fill(~subject.keep, 0))
        rest = max(1, round(SETTLING * settings.epochs))
        return MaskedDistillation().repair_model(model, dense, tokens, keeps, replace(settings, epochs=rest))


class _Split:
    """The sparse copy z and the running difference u of every weight, in the layout of its module."""

    def __init__(self, stepper: Stepper, subjects: Sequence[PrunedSubject], settings: RepairSettings) -> None:
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
            (z != 0).t() if subject.linear.transposed else z != 0
            for z, subject in zip(self.sparse, self.subjects, strict=True)
        ]


def nearest_support(
    point: Float[Tensor, "rows columns"], sensitivity: Float[Tensor, "rows columns"], subject: PrunedSubject
) -> Float[Tensor, "rows columns"]:
    """1 where the nearest point with as many weights as the subject's mask is not zero, in the stored layout."""
    scores = point.square() * sensitivity
    if subject.pattern.structured:
        oriented = scores.t().contiguous() if subject.linear.transposed else scores
        keep = ~prune_groups(oriented, subject.pattern)
        return (keep.t() if subject.linear.transposed else keep).to(point.dtype)
    n_kept = int(subject.keep.sum())
    kept = torch.zeros_like(point).flatten()
    kept[scores.flatten().topk(n_kept).indices] = 1
    return kept.view_as(point)
