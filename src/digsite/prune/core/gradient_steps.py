"""Adam on the kept weights of some maps, everything else fixed: the common ground of the repairs that learn."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from digsite.base.streams import derive_seed
from digsite.prune.core.repair import RepairSettings, Subject
from digsite.prune.core.two_streams import in_precision

WARM_UP = 0.1  # share of the steps


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
        self, subjects: Sequence[Subject], settings: RepairSettings, n_steps: int, *, free: bool = False
    ) -> None:
        self.parameters: list[Tensor] = [
            subject.one.module.weight
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
