"""The local learning coefficient: how many effective parameters a trained network has, by sampling around its weights.

t E[L(w) - L(w*)] under the tempered posterior at inverse temperature t tends to the learning coefficient (Watanabe; Lau et al. 2023): half the
number of parameters for a regular model, less where directions do not matter or matter only together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import isfinite, log, sqrt
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import t as student_t
from torch import Tensor, nn
from torch.func import functional_call, grad

from digsite.base.errors import UsageError
from digsite.train.engines import Loss, choose_plan, find_loss
from digsite.train.feeds import Batch, as_data
from digsite.train.layout import Layout, list_untrained

MIXED = 1.2  # split-R-hat above which chains tell different stories
DRIFT = 0.1  # change of the mean between the halves of the samples, relative, above which they are still on their way
BLOCKS = 5  # of each chain, whose means are the units of the interval


@dataclass(frozen=True)
class Coefficient:
    """A learning coefficient with its 95 % interval over chains, how it was sampled, and what speaks against it.

    `value` is nan when every chain left; `r_hat` compares the variance between chains with that within; `drift` is the
    change between the halves of the samples; `warnings` are sentences, empty when all is well.
    """

    value: float
    low: float
    high: float
    parameters: int
    step_size: float
    temperature: float
    r_hat: float
    drift: float
    diverged: int
    warnings: tuple[str, ...]


def estimate_coefficient(
    model: nn.Module,
    data: Any,
    *,
    loss: str | Loss = "cross_entropy",
    batch: int | None = None,
    samples: int | None = None,
    settings: ChainSettings | None = None,
    **changes: Any,
) -> Coefficient:
    """The local learning coefficient of a network at its present weights.

    model: any module; its trained parameters are sampled and come back unchanged. data: (x, y) or what the ensemble trainer
    takes as stored examples. loss: a name or a function (outputs, targets) -> mean loss, a negative log likelihood for the
    coefficient to have its meaning. batch: examples per step, all by default. samples: n of the temperature n / log n, the
    number of examples by default. settings: a ChainSettings, or changes of single ones by name (chains, steps, ...).
    """
    source, count = _batch_source(data, batch, changes.get("seed", 0))
    n = samples or count
    settings = settings or ChainSettings(temperature=n / log(n))
    settings = replace(settings, **changes)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    stack = ChainStack(model, find_loss(loss), source, settings.chains)
    stack.check_slope()
    trace = run_chains(stack, settings)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    return summarize_chains(trace, settings, len(stack.center))


def _batch_source(data: Any, batch: int | None, seed: int) -> tuple[Source, int]:
    """Batches of stored examples, and how many there are."""
    examples = as_data(data)
    if not hasattr(examples, "x"):
        raise UsageError(
            "A learning coefficient needs stored examples (x, y): the loss at w* must be comparable."
        )
    x, y = examples.x, examples.y  # type: ignore[union-attr]
    if not (isinstance(x, Tensor) and isinstance(y, Tensor)) or len(x) != len(y) or len(x) < 2:
        raise UsageError(
            "A learning coefficient needs tensors x and y with a row for each of two or more examples."
        )
    if batch is None or batch >= len(x):
        return (lambda step: (x, y)), len(x)

    def draw(step: int) -> tuple[Tensor, Tensor]:
        rows = np.random.default_rng((seed, step)).choice(len(x), batch, replace=False)
        index = torch.from_numpy(rows)
        return x[index], y[index]

    return draw, len(x)


def summarize_chains(trace: ChainTrace, settings: ChainSettings, parameters: int) -> Coefficient:
    """Mean over chains with an interval from the spread of chains, and the diagnostics.

    trace: excess losses (chains, steps). settings: for the temperature. parameters: their number, for the warning that
    compares with a regular model. The units of the interval are chains: samples within one are not independent.
    """
    energies = settings.temperature * trace.excess.double()
    whole = energies[torch.isfinite(energies).all(1)]
    if trace.diverged >= len(energies) or len(whole) < 2:
        text = f"all {len(energies)} chains left the weights: raise the localization or lower the temperature"
        return Coefficient(
            float("nan"),
            float("nan"),
            float("nan"),
            parameters,
            trace.step_size,
            settings.temperature,
            float("nan"),
            float("nan"),
            trace.diverged,
            (text,),
        )
    means = whole.mean(1)
    value, error = float(means.mean()), float(means.std() / sqrt(len(means)))
    half = error * float(student_t.ppf(0.975, len(means) - 1))
    first, second = whole.chunk(2, 1)[0].mean(), whole.chunk(2, 1)[1].mean()
    drift = float((second - first) / max(abs(value), 1e-12))
    r_hat = split_r_hat(whole)
    return Coefficient(
        value,
        value - half,
        value + half,
        parameters,
        trace.step_size,
        settings.temperature,
        r_hat,
        drift,
        trace.diverged,
        tuple(_coefficient_warnings(value, error, drift, r_hat, trace, parameters)),
    )


def _coefficient_warnings(
    value: float, error: float, drift: float, r_hat: float, trace: ChainTrace, parameters: int
) -> list[str]:
    """What a reader must doubt: chains that left, an estimate below zero, one that still drifts."""
    warnings = []
    if trace.diverged:
        warnings.append(f"{trace.diverged} chains left the weights and are counted as they are")
    if value < 0:
        warnings.append("the chains found lower losses than the weights have: these are no minimum, train on")
    if abs(drift) > DRIFT and abs(drift * value) > 2 * error:
        warnings.append(f"the chains are still on their way ({drift:+.0%} between halves): more steps")
    if r_hat > MIXED:
        warnings.append(f"the chains disagree (R-hat {r_hat:.2f}): more steps")
    if value > 0.6 * parameters:
        warnings.append(
            f"{value:.0f} is above the {parameters / 2:.0f} of a regular model: the step is too long"
        )
    return warnings


def split_r_hat(energies: Float[Tensor, "chains steps"]) -> float:
    """Gelman and Rubin's ratio over half chains; 1 when they agree. energies: one row per chain."""
    halves = (
        torch.cat(energies.chunk(2, 1)[:2])
        if energies.shape[1] % 2 == 0
        else torch.cat(energies[:, 1:].chunk(2, 1))
    )
    n = halves.shape[1]
    within, between = halves.var(1).mean(), n * halves.mean(1).var()
    return float(((n - 1) / n + between / (n * within.clamp(min=1e-300))).sqrt())


def describe_coefficient(coefficient: Coefficient) -> Mapping[str, float]:
    """The numbers of a coefficient as measures of a training, by name."""
    return {
        "coefficient": coefficient.value,
        "coefficient_low": coefficient.low,
        "coefficient_high": coefficient.high,
    }


# Langevin chains around given weights, all in one stack: the sampler behind the learning coefficient.
#
# The chains draw from exp(-t L(w) - g/2 |w - w*|^2), with gradients of batches. With momentum (the default) a step is kick, drift, friction and
# noise, drift, kick (BAOAB, Leimkuhler and Matthews 2013), whose positions are exact where the loss is quadratic and which crosses flat directions
# in straight lines; without, it is the usual w <- w - e/2 (t grad L + g (w - w*)) + sqrt(e) noise, which diffuses: on a three-layer linear
# network 6,000 of its steps were still 10 to 22 % below the closed form.
#
# The step is not chosen by eye: it is a fixed part of the stability limit 2 / sqrt(t h + g), h the largest curvature, measured by power iteration
# at w* and again where the chains have gone, as flat directions lead to places where the loss is steeper.

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
        extras = {name: value.detach() for name, value in list_untrained(model).items()}
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

    def check_slope(self) -> None:
        """Refuse weights without a loss, and a network whose loss does not answer to small changes of them: chains go downhill."""
        x, y = self.source(0)
        value = float(self.loss_at(self.center, x, y))
        if not isfinite(value):
            raise UsageError(f"The loss at these weights is {value}, and there is nothing to sample around.")
        away = torch.randn(len(self.center), generator=torch.Generator().manual_seed(0)).to(self.center)
        near = self.center + 0.1 * (0.1 + self.center.abs()) * away
        if not bool(grad(lambda row: self.loss_at(row, x, y))(near).any()):
            raise UsageError(
                f"The loss of this {type(self.model).__name__} has no slope in its weights: discrete outputs cannot be sampled.",
                hint="Give the scores before they are rounded, or a loss that is smooth in the outputs.",
            )

    def loss_at(self, row: Float[Tensor, " p"], x: Tensor, y: Tensor) -> Tensor:
        """The loss of one row of weights on one batch."""
        params = {name: value[0] for name, value in self.layout.views(row[None]).items()}
        return self.loss(functional_call(self.model, (params, self.extras), (x,)), y)

    def largest_curvature(self, row: Float[Tensor, " p"], seed: int) -> float:
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
    """H v by two gradients, never the matrix."""
    slope = grad(lambda r: stack.loss_at(r, x, y))
    return grad(lambda r: (slope(r) * vector).sum())(row).detach()


def run_chains(stack: ChainStack, settings: ChainSettings) -> ChainTrace:
    """Burns in, measures the curvature anew, and samples; a stack that runs away is started again with half the step.

    stack: the network at w*. settings: temperature, localization, chains, steps. The excess of a step is the loss of a chain
    less that of w* on the same batch, which takes most of the batch's noise out.
    """
    t = settings.temperature
    before = stack.largest_curvature(stack.center, settings.seed)
    size, halved = settings.rule_step(before), 0
    while True:
        stack.flat = stack.center.expand(len(stack.flat), -1).clone()
        draw = torch.Generator().manual_seed(settings.seed)
        _walk_chains(stack, settings, size, settings.burn, 0, draw)
        gone = _most_curved(stack, settings.seed)
        # Where the chains have gone it is steeper than the step allows: start over with a smaller one.
        if gone != gone or size > 1.5 * settings.rule_step(gone):
            # At zero weights the curvature is zero and says nothing: large strides down, then the rule.
            size, halved = (size / 4 if gone != gone else settings.rule_step(gone)), halved + 1
            if halved <= HALVINGS:
                continue
        excess = _walk_chains(stack, settings, size, settings.steps, settings.burn, draw)
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
    """Over a few chains: the step must be stable where the loss curves most."""
    rows = stack.flat[:: max(len(stack.flat) // 2, 1)]
    return max(
        stack.largest_curvature(row, seed) if torch.isfinite(row).all() else float("nan") for row in rows
    )


def _walk_chains(
    stack: ChainStack, settings: ChainSettings, size: float, steps: int, first: int, draw: torch.Generator
) -> Float[Tensor, "chains steps"]:
    """Losses (chains, steps) of Langevin steps that an anchor holds near the trained weights."""
    chain_losses = torch.empty(len(stack.flat), steps)
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
        chain_losses[:, i] = losses - anchor
        before, force = (
            force,
            settings.temperature * gradient + settings.localization * (stack.flat - stack.center),
        )
        if not settings.momentum:
            stack.flat = stack.flat - 0.5 * size * force + sqrt(size) * noise
        elif before is not None:
            speed = speed - 0.5 * size * force
    return chain_losses
