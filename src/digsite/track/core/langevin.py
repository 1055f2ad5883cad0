"""Langevin chains around given weights, all in one stack: the sampler behind the learning coefficient.

The chains draw from exp(-t L(w) - g/2 |w - w*|^2), with gradients of batches. With momentum (the default) a step is kick, drift, friction and
noise, drift, kick (BAOAB, Leimkuhler and Matthews 2013), whose positions are exact where the loss is quadratic and which crosses flat directions
in straight lines; without, it is the usual w <- w - e/2 (t grad L + g (w - w*)) + sqrt(e) noise, which diffuses: on a three-layer linear
network 6,000 of its steps were still 10 to 22 % below the closed form.

The step is not chosen by eye: it is a fixed part of the stability limit 2 / sqrt(t h + g), h the largest curvature, measured by power iteration
at w* and again where the chains have gone, as flat directions lead to places where the loss is steeper.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, grad

from digsite.base.errors import UsageError
from digsite.train.engines import Loss, choose_plan
from digsite.train.feeds import Batch
from digsite.train.layout import Layout, untrained

# Step times curvature without momentum: inflates the energy of the steepest direction by 1 / (1 - KAPPA / 4), 4 %.
KAPPA = 0.15
STIFF = 0.5  # of step times frequency with momentum; 2 is the limit of stability
KEPT = 0.98  # of the momentum in a step: it goes straight for about 50
POWER_STEPS = 12  # of the power iteration; it stops short of the largest curvature by a few percent
HALVINGS = 6  # new starts with a shorter step, before the stack is taken as it is
RUNAWAY = 50.0  # times the energy of a regular model: a chain beyond it has left
Source = Callable[[int], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class ChainSettings:
    """How to sample: inverse `temperature` (t above), `localization` (g above), chains, steps and burn-in steps."""

    temperature: float
    localization: float = 1.0
    chains: int = 8
    steps: int = 2000
    burn: int = 1000
    momentum: bool = True
    seed: int = 0

    def rule_step(self, curvature: float) -> float:
        """The step for a largest curvature of the loss."""
        stiffness = self.temperature * curvature + self.localization
        return STIFF / sqrt(stiffness) if self.momentum else KAPPA / stiffness


@dataclass(frozen=True)
class ChainTrace:
    """Excess losses (chains, steps) after burn-in, the step size they were made with, and curvature before and after."""

    excess: Tensor
    step_size: float
    curvature: float
    curvature_after: float
    diverged: int
    halved: int


class ChainStack:
    """A network's trained parameters as C rows that move together; buffers and frozen parameters are shared."""

    def __init__(self, model: nn.Module, loss: Loss, source: Source, chains: int) -> None:
        self.layout = Layout.of(model)
        if not self.layout.names:
            raise UsageError(
                f"A {type(model).__name__} without trained parameters cannot be sampled.",
                hint="Unfreeze some of them: parameter.requires_grad_().",
            )
        self.model, self.loss, self.source = model.eval(), loss, source
        self.center = self.layout.row(model).detach()
        extras = {name: value.detach() for name, value in untrained(model).items()}
        self.extras = extras
        self.stacked = {name: value.expand(chains, *value.shape) for name, value in extras.items()}
        plan = choose_plan(model, self.layout, chains, self.center.device, None, None)
        self.engine = plan.build(model, self.layout, loss)
        self.flat = self.center.expand(chains, -1).clone()
        self._gradient = torch.empty_like(self.flat)

    def gradients(self, step: int) -> tuple[Tensor, Tensor]:
        """Losses (C,) and gradients (C, P) on the batch of a step."""
        x, y = self.source(step)
        losses = self.engine.gradients(self.flat, self.stacked, Batch(x, y, True), {}, self._gradient)
        return losses, self._gradient

    def loss_at(self, row: Float[Tensor, " p"], x: Tensor, y: Tensor) -> Tensor:
        """The loss of one row of weights on one batch."""
        params = {name: value[0] for name, value in self.layout.views(row[None]).items()}
        return self.loss(functional_call(self.model, (params, self.extras), (x,)), y)

    def curvature(self, row: Float[Tensor, " p"], seed: int) -> float:
        """The largest curvature of the loss at a row, by power iteration on products with the Hessian."""
        x, y = self.source(0)
        vector = torch.randn(len(row), generator=torch.Generator().manual_seed(seed), dtype=row.dtype)
        size = 0.0
        for _ in range(POWER_STEPS):
            vector = vector / vector.norm().clamp(min=1e-30)
            product = _hessian_product(self, row, vector, x, y)
            size = float(product.norm())
            vector = product
        return size


def _hessian_product(stack: ChainStack, row: Tensor, vector: Tensor, x: Tensor, y: Tensor) -> Tensor:
    slope = grad(lambda r: stack.loss_at(r, x, y))
    return grad(lambda r: (slope(r) * vector).sum())(row).detach()


def run_chains(stack: ChainStack, settings: ChainSettings) -> ChainTrace:
    """Burns in, measures the curvature anew, and samples; a stack that runs away is started again with half the step.

    stack: the network at w*. settings: temperature, localization, chains, steps. The excess of a step is the loss of a chain
    less that of w* on the same batch, which takes most of the batch's noise out.
    """
    t = settings.temperature
    before = stack.curvature(stack.center, settings.seed)
    size, halved = settings.rule_step(before), 0
    while True:
        stack.flat = stack.center.expand(len(stack.flat), -1).clone()
        draw = torch.Generator().manual_seed(settings.seed)
        _walk(stack, settings, size, settings.burn, 0, draw)
        gone = _most_curved(stack, settings.seed)
        # Where the chains have gone it is steeper than the step allows: start over with a smaller one.
        if gone != gone or size > 1.5 * settings.rule_step(gone):
            # At zero weights the curvature is zero and says nothing: large strides down, then the rule.
            size, halved = (size / 4 if gone != gone else settings.rule_step(gone)), halved + 1
            if halved <= HALVINGS:
                continue
        excess = _walk(stack, settings, size, settings.steps, settings.burn, draw)
        if halved < HALVINGS and _one_left(excess):
            size, halved = size / 2, halved + 1
            continue
        limit = RUNAWAY * len(stack.center) / t
        bad = ~torch.isfinite(excess).all(1) | (excess[:, -len(excess[0]) // 4 :].mean(1) > limit)
        return ChainTrace(excess, size, before, gone, int(bad.sum()), halved)


def _one_left(excess: Tensor) -> bool:
    """A chain whose energy is many times that of the others found a place too steep for the step."""
    means = excess.mean(1)
    return not bool(torch.isfinite(means).all()) or bool(means.max() > 4 * means.median().abs())


def _most_curved(stack: ChainStack, seed: int) -> float:
    rows = stack.flat[:: max(len(stack.flat) // 2, 1)]
    return max(stack.curvature(row, seed) if torch.isfinite(row).all() else float("nan") for row in rows)


def _walk(
    stack: ChainStack, settings: ChainSettings, size: float, steps: int, first: int, draw: torch.Generator
) -> Float[Tensor, "chains steps"]:
    found = torch.empty(len(stack.flat), steps)
    speed = torch.randn(stack.flat.shape, generator=draw, dtype=stack.flat.dtype)
    force, anchor, held = None, torch.zeros(()), None
    for i in range(steps):
        noise = torch.randn(stack.flat.shape, generator=draw, dtype=stack.flat.dtype)
        if settings.momentum and force is not None:
            speed = speed - 0.5 * size * force
            stack.flat = stack.flat + 0.5 * size * speed
            speed = KEPT * speed + sqrt(1 - KEPT**2) * noise
            stack.flat = stack.flat + 0.5 * size * speed
        losses, gradient = stack.gradients(first + i)
        x, y = stack.source(first + i)
        if held is not x:
            held, anchor = x, stack.loss_at(stack.center, x, y).detach()
        found[:, i] = losses - anchor
        before, force = (
            force,
            settings.temperature * gradient + settings.localization * (stack.flat - stack.center),
        )
        if not settings.momentum:
            stack.flat = stack.flat - 0.5 * size * force + sqrt(size) * noise
        elif before is not None:
            speed = speed - 0.5 * size * force
    return found
