"""Token sequences with a known rule: repeated strings for induction heads, pairs for modular addition."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.data.config import SparseFeatures


def draw_induction(n: int, length: int, vocab: int, generator: torch.Generator) -> Int[Tensor, "n length"]:
    """Random tokens in which the last one occurs once before: what followed it then is what should follow it now.

    The last token is the answer, the one before it the cue; tokens are distinct otherwise where `vocab` allows it.

    `n` rows of `length` tokens out of `vocab`; the place of the pair is drawn uniformly.
    """
    assert length >= 4 and vocab >= length, f"{length} tokens out of {vocab}"
    order = torch.rand(n, vocab, generator=generator, device=generator.device).argsort(-1)
    rows = order[:, :length].clone()
    start = torch.randint(length - 3, (n, 1), generator=generator, device=generator.device)
    rows[:, -2:] = torch.cat([rows.gather(1, start), rows.gather(1, start + 1)], 1)
    return rows


def draw_repeated(n: int, length: int, vocab: int, generator: torch.Generator) -> Int[Tensor, "n 2*length"]:
    """A random string said twice: from the second time on, every token is predictable.

    Tokens are drawn with replacement, so a cue may have two answers: a loss of zero is out of reach.
    """
    once = torch.randint(vocab, (n, length), generator=generator, device=generator.device)
    return torch.cat([once, once], 1)


def modular_addition(modulus: int) -> tuple[Int[Tensor, "n 2"], Int[Tensor, "n"]]:
    """All pairs (a, b) and (a + b) mod p.

    `modulus` is p; there are p^2 examples and no others, so a network can be judged on all inputs.
    """
    a, b = torch.meshgrid(torch.arange(modulus), torch.arange(modulus), indexing="ij")
    pairs = torch.stack([a.flatten(), b.flatten()], 1)
    return pairs, pairs.sum(1) % modulus


def split_indices(
    n: int, share: float, generator: torch.Generator
) -> tuple[Int[Tensor, "k"], Int[Tensor, "m"]]:
    """Indices of a random share of `n` examples, and of the rest.

    `share` goes into the first part, rounded to whole examples.
    """
    order = torch.randperm(n, generator=generator)
    cut = round(n * share)
    return order[:cut], order[cut:]


# Batches of sparse features, for the toy models of superposition and of residual computation.

EXACTLY = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}


def draw_features(
    config: SparseFeatures, n: int, generator: torch.Generator, lead: tuple[int, ...] = ()
) -> Float[Tensor, "*lead n features"]:
    """`n` inputs, or `n` for each index of `lead`; drawn on the generator's device.

    `config` says how many features there are, how often each is on and between which values; `lead` adds axes
    in front, such as one for the members of an ensemble.
    """
    shape = (*lead, n, config.n_features)
    values = torch.rand(shape, generator=generator, device=generator.device)
    values = config.low + (config.high - config.low) * values
    return values * _draw_active(config, shape, generator)


def _draw_active(config: SparseFeatures, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """True where a feature is on. Independent coins, or exactly so many per row: the first k of random numbers
    are a uniform subset.
    """
    draws = torch.rand(shape, generator=generator, device=generator.device)
    if config.active == "at_least_zero_active":
        return _sync_groups(config, draws < config.probability)
    count = EXACTLY[config.active.split("_")[1]]
    if count > config.n_features:
        raise UsageError(f"active={config.active} needs {count} features, there are {config.n_features}.")
    if config.synced:
        raise UsageError(f"synced groups go with at_least_zero_active, not with {config.active}.")
    return torch.zeros_like(draws, dtype=torch.bool).scatter_(-1, draws.topk(count, -1).indices, True)


def _sync_groups(config: SparseFeatures, active: Tensor) -> Tensor:
    """A group is on exactly when its first feature is."""
    for group in config.synced:
        active[..., group] = active[..., group[:1]]
    return active


def resid_targets(
    x: Float[Tensor, "*n features"],
    activation: Callable[[Tensor], Tensor] | None = torch.relu,
    coefficients: Float[Tensor, "features"] | None = None,
) -> Float[Tensor, "*n features"]:
    """What a residual MLP is to compute: act(c x) + x, or |c x| without an activation.

    `x` (..., features), `coefficients` c (features).
    """
    scaled = x if coefficients is None else x * coefficients
    return scaled.abs() if activation is None else activation(scaled) + x


def label_coefficients(n_features: int, generator: torch.Generator) -> Float[Tensor, "features"]:
    """Uniform in [1, 2], as the published targets have them when they are not all one."""
    return 1 + torch.rand(n_features, generator=generator, device=generator.device)
