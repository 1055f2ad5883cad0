"""The local learning coefficient: how many effective parameters a trained network has, by sampling around its weights.

t E[L(w) - L(w*)] under the tempered posterior at inverse temperature t tends to the learning coefficient (Watanabe; Lau et al. 2023): half the
number of parameters for a regular model, less where directions do not matter or matter only together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import log, sqrt
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import t as student_t
from torch import Tensor, nn

from digsite.base.errors import UsageError
from digsite.track.core.langevin import ChainSettings, ChainStack, ChainTrace, Source, run_chains
from digsite.train.engines import Loss, find_loss
from digsite.train.feeds import as_data

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
    source, count = _source(data, batch, changes.get("seed", 0))
    n = samples or count
    settings = settings or ChainSettings(temperature=n / log(n))
    settings = replace(settings, **changes)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    stack = ChainStack(model, find_loss(loss), source, settings.chains)
    trace = run_chains(stack, settings)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    return summarize_chains(trace, settings, len(stack.center))


def _source(data: Any, batch: int | None, seed: int) -> tuple[Source, int]:
    examples = as_data(data)
    if not hasattr(examples, "x"):
        raise UsageError(
            "A learning coefficient needs stored examples (x, y): the loss at w* must be comparable."
        )
    x, y = examples.x, examples.y  # type: ignore[union-attr]
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
        tuple(_warnings(value, error, drift, r_hat, trace, parameters)),
    )


def _warnings(
    value: float, error: float, drift: float, r_hat: float, trace: ChainTrace, parameters: int
) -> list[str]:
    found = []
    if trace.diverged:
        found.append(f"{trace.diverged} chains left the weights and are counted as they are")
    if value < 0:
        found.append("the chains found lower losses than the weights have: these are no minimum, train on")
    if abs(drift) > DRIFT and abs(drift * value) > 2 * error:
        found.append(f"the chains are still on their way ({drift:+.0%} between halves): more steps")
    if r_hat > MIXED:
        found.append(f"the chains disagree (R-hat {r_hat:.2f}): more steps")
    if value > 0.6 * parameters:
        found.append(
            f"{value:.0f} is above the {parameters / 2:.0f} of a regular model: the step is too long"
        )
    return found


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


def describe_coefficient(found: Coefficient) -> Mapping[str, float]:
    """The numbers of a coefficient as measures of a training, by name."""
    return {"coefficient": found.value, "coefficient_low": found.low, "coefficient_high": found.high}
